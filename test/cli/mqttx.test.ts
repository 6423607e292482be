/** Command lines of MQTTX's client: they do with `pub`, `sub` and `bench` what they do there. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { fromMqttx } from "../../cli/flags/mqttx-flags.ts";
import { makeProgram } from "../../cli/program.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { runExecutable } from "../support/process.ts";

let broker: TestBroker;
let to: string[];

beforeAll(async () => {
  broker = await startBroker({ wsPort: 0 });
  to = ["-h", "127.0.0.1", "-p", String(broker.port)];
});

afterAll(() => broker.stop());

test.each([
  [["--hostname", "h", "--client-id", "c", "--password", "p"], "--host h --id c --pw p"],
  [
    ["-V", "3.1.1", "--no-clean", "-se", "60"],
    "--protocol-version 311 --disable-clean-session --session-expiry-interval 60",
  ],
  [["-t", "a", "-m", "--stdin", "--retain", "true"], "-t a -m --stdin --retain"],
  [["-r", "false", "-l", "mqtts"], "--tls-use-os-certs"],
  [["-l", "wss", "--ca", "f", "--path", "/x"], "--ws --cafile f --ws-path /x"],
  [["-s", "--stdin", "--multiline"], "--stdin-line"],
  [["-l", "-q", "1", "-V", "mqttv5"], "-l -q 1 --protocol-version mqttv5"],
  [
    ["-up", "a: b:c", "d:e", "-ct", "x/y"],
    "-D publish user-property a b:c -D publish user-property d e -D publish content-type x/y",
  ],
] as const)("pub %j", (words, taken) => {
  const pub = makeProgram().commands.find((one) => one.name() === "pub")!;
  expect(fromMqttx(pub, words).join(" ")).toBe(taken);
});

test.each(["pub", "sub", "bench"])("what %s itself knows means there what it means", (name) => {
  const command = makeProgram().commands.find((one) => one.name() === name)!;
  const changed: string[] = [];
  for (const { short, long, required } of command.options)
    for (const flag of [short, long]) {
      // Only the version's name is another one.
      if (flag === undefined || flag === "-V") continue;
      const words = required ? [flag, "1"] : [flag];
      if (fromMqttx(command, words).join(" ") !== words.join(" ")) changed.push(flag);
    }
  expect(changed).toEqual([]);
});

test("pub, sub and bench run with them", async () => {
  const pub = await runExecutable([
    "pub",
    ...to,
    "-t",
    "x/t",
    "-m",
    "hello",
    "--retain",
    "true",
    "-up",
    "a: b",
    "-V",
    "5.0",
  ]);
  expect(pub).toEqual({ code: 0, out: "", err: "" });
  const web = ["--hostname", "127.0.0.1", "-p", String(broker.server.ports.ws), "-l", "ws", "--path", "/mqtt"];
  const sub = await runExecutable(["sub", ...web, "-t", "x/#", "-F", "%t %p %P", "-C", "1", "-V", "5.0"]);
  expect(sub).toEqual({ code: 0, out: "x/t hello a:b\n", err: "" });
  const lines = await runExecutable(["pub", ...to, "-t", "x/l", "-s", "--stdin", "--multiline"], { input: "a\nb\n" });
  expect(lines.code).toBe(0);
  const bench = await runExecutable([
    "bench",
    "pub",
    ...to,
    "-c",
    "2",
    "-im",
    "5",
    "-L",
    "6",
    "-t",
    "x/%i",
    "-V",
    "5.0",
    "--json",
  ]);
  expect([bench.code, bench.err]).toEqual([0, ""]);
  const lacking = await runExecutable(["pub", ...to, "-t", "a", "-m", "b", "-up"]);
  expect([lacking.code, lacking.err]).toEqual([2, "mqttzoo: -up needs a value\n"]);
}, 30_000);
