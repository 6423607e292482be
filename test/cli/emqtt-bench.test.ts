/** Command lines made for emqtt_bench, run unchanged by `mqttzoo bench`; and results as a page with charts. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromEmqttBench } from "../../cli/bench/emqtt-flags.ts";
import { makeProgram } from "../../cli/program.ts";
import { OperatingError } from "../../src/base/errors.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { runExecutable } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-emqtt-"));
let broker: TestBroker;
let to: readonly string[];
beforeAll(async () => {
  broker = await startBroker();
  to = ["-h", "127.0.0.1", "-p", String(broker.port)];
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

type Mode = "conn" | "pub" | "sub";
/** All three have these. */
const all: readonly Mode[] = ["conn", "pub", "sub"];

/**
 * Every flag of `emqtt_bench conn|pub|sub --help` (0.6), its long and short form with a value that scripts give, and
 * what becomes of it: the words in our terms; nothing where nothing is to be done; or why it is refused.
 */
const fates: readonly (readonly [modes: readonly Mode[], given: string, fate: string | RegExp])[] = [
  [all, "--help", "--help"],
  [all, "-d", ""],
  [all, "--dist", ""],
  [all, "-h a,b", "-h a,b"],
  [all, "--host a", "--host a"],
  [all, "-p 1884", "-p 1884"],
  [all, "--port 1884", "--port 1884"],
  [all, "-V 5", "-V 5"],
  [all, "--version 4", "--protocol-version 4"],
  [all, "-V 3", "-V 3"],
  [all, "-c 10", "-c 10"],
  [all, "--count 10", "--count 10"],
  [all, "-R 100", "-R 100"],
  [all, "--connrate 0", ""],
  [all, "-i 10", "-i 10"],
  [all, "--interval 10", "--interval 10"],
  [all, "--ifaddr 127.0.0.1,127.0.0.2", "--ifaddr 127.0.0.1,127.0.0.2"],
  [all, "--prefix x", "--prefix x"],
  [all, "--shortids", "--shortids"],
  [all, "--shortids false", ""],
  [all, "-n 5", "-n 5"],
  [all, "--startnumber 5", "--startnumber 5"],
  [all, "--num-retry-connect 3", "--num-retry-connect 3"],
  [all, "--num-retry-connect 0", ""],
  [all, "--reconnect 0", ""],
  [all, "--reconnect 3", /a lost connection is counted as a failure/],
  [all, "-S", "--ssl"],
  [all, "-S true", "--ssl"],
  [all, "--ssl=false", ""],
  [all, "--ssl-version tlsv1.2", "--ssl --tls-version tlsv1.2"],
  [all, "--ssl-version tlsv1.3_nocompat", "--ssl --tls-version tlsv1.3"],
  [all, "--cacertfile ca.pem", "--cafile ca.pem"],
  [all, "--certfile c.pem --keyfile k.pem", "--cert c.pem --key k.pem"],
  [all, "--ciphers A,B", "--ciphers A:B"],
  [all, "--signature-algs x", /chosen by the TLS library/],
  [all, "--keyex-algs x", /chosen by the TLS library/],
  [all, "--quic false", ""],
  [all, "--quic true", /QUIC is not spoken here/],
  [all, "--load-qst f", /QUIC is not spoken here/],
  [all, "--ws", "--ws"],
  [all, "--ws true", "--ws"],
  [all, "-u user%i", "-u user%i"],
  [all, "--username u", "--username u"],
  [all, "-P secret", "-P secret"],
  [all, "--password secret", "--pw secret"],
  [all, "-k 60", "-k 60"],
  [all, "--keepalive 60", "--keepalive 60"],
  [all, "-C false", "--no-clean"],
  [all, "--clean true", ""],
  [all, "-x 60", "-x 60"],
  [all, "--session-expiry 60", "--session-expiry 60"],
  [all, "-l", ""],
  [all, "--lowmem", ""],
  [all, "--force-major-gc-interval 100", ""],
  [all, "-Q true", ""],
  [all, "--qoe dump", ""],
  [all, "--qoelog f", /--html and --json/],
  [all, "--prometheus", /--json prints the figures/],
  [all, "--restapi 8080", /--json prints the figures/],
  [all, "--log_to null", ""],
  [["pub"], "-I 100", "-I 100"],
  [["pub"], "--interval_of_msg 100", "--interval-of-msg 100"],
  [["pub", "sub"], "-t a/%i/%c/%u", "-t a/%i/%c/%u"],
  [["pub"], "--topic a/%s/%rand_10", "--topic a/%s/%rand_10"],
  [["pub", "sub"], "--payload-hdrs cnt64,ts", ""],
  [["pub"], "-s 10", "-s 10"],
  [["pub"], "--size 10", "--size 10"],
  [["pub"], "-m template://f", "-m template://f"],
  [["pub"], "--message hi", "--message hi"],
  [["pub"], "--topics-payload f", /mqttzoo simulate/],
  [["pub", "sub"], "-q 1", "-q 1"],
  [["pub", "sub"], "--qos 1", "--qos 1"],
  [["pub"], "-r", "--retain"],
  [["pub"], "--retain true", "--retain"],
  [["pub"], "-r false", ""],
  [["pub"], "-L 10", "-L 10"],
  [["pub"], "--limit 0", ""],
  [["pub"], "-F 0", "-F 65535"],
  [["pub"], "--inflight 5", "--inflight 5"],
  [["pub"], "-w true", ""],
  [["pub"], "--wait-before-publishing", ""],
  [["pub"], "--max-random-wait 10", ""],
  [["pub"], "--min-random-wait 10", ""],
  [["pub"], "--retry-interval 5", ""],
  [["pub"], "--keep-connected true", ""],
];

const bench = makeProgram().commands.find((one) => one.name() === "bench")!;

test.each(fates)("%p %s", (modes, given, fate) => {
  const words = given.split(" ");
  if (fate instanceof RegExp) {
    expect(() => fromEmqttBench(words)).toThrow(fate);
    expect(() => fromEmqttBench(words)).toThrow(OperatingError);
    return;
  }
  const found = fromEmqttBench([...words, "-c", "7"]);
  expect(found.join(" ")).toBe(`${fate} -c 7`.trim());
  // Each is a flag of ours.
  for (const mode of modes) {
    const { options } = bench.commands.find((one) => one.name() === mode)!;
    const ours = new Set(["--help", ...options.flatMap(({ short, long }) => [short, long])]);
    expect([mode, found.filter((word) => word.startsWith("-") && !ours.has(word))]).toEqual([mode, []]);
  }
});

describe("whole command lines of scripts", () => {
  async function run(line: string): Promise<Record<string, number>> {
    const { code, out, err } = await runExecutable(["bench", ...line.split(" "), ...to, "--json"]);
    expect([code, err]).toEqual([0, ""]);
    return JSON.parse(out);
  }

  test("conn", async () => {
    const line =
      "conn -c 6 -R 1000 -n 10 --prefix p --shortids true --ifaddr 127.0.0.1,127.0.0.2 --lowmem -d 1 -C false -x 5";
    expect(await run(line)).toMatchObject({ connected: 6, failed: 0 });
    const { localSessions } = broker.server.broker.context;
    expect([...localSessions.keys()].sort()).toEqual([10, 11, 12, 13, 14, 15].map((number) => `p${number}`));
  }, 60_000);

  test("pub, with topics and payloads that differ from message to message", async () => {
    const watcher = await RawClient.connect(broker.port);
    await watcher.subscribe("vary/#", { qos: 0 });
    const file = join(folder, "template");
    writeFileSync(file, '{"at":%TIMESTAMPMS%,"us":%TIMESTAMPUS%,"id":%UNIQUE%,"r":"%RANDOM%"}');
    const line = `pub -c 2 -t vary/%i/%s/%rand_5 -m template://${file} -s 4 -L 3 -I 0 -q 1 -F 0 -r false -w -l`;
    expect(await run(line)).toMatchObject({ sent: 6, acknowledged: 6, refused: 0 });
    const came = await watcher.takeMany("publish", 6);
    const topics = came.map(({ topic }) => topic.replace(/\/([1-5])$/, ""));
    expect(topics.sort()).toEqual([1, 2, 3].flatMap((sequence) => [`vary/0/${sequence}`, `vary/1/${sequence}`]).sort());
    const ids = new Set<string>();
    for (const { payload } of came) {
      const [, at, us, id, random] = /^\{"at":(\d+),"us":(\d+),"id":(\d+),"r":"(.{4})"\}$/s.exec(
        Buffer.from(payload).toString("latin1"),
      )!;
      expect([Math.abs(Number(at) - Date.now()) < 60_000, us, random!.length]).toEqual([true, `${at}000`, 4]);
      ids.add(id!);
    }
    expect(ids.size).toBe(6);
    watcher.abort();
  }, 60_000);

  test("sub", async () => {
    expect(await run("sub -c 3 -i 1 -t s/%i -q 1 --payload-hdrs cnt64,ts -d 1")).toMatchObject({
      connected: 3,
      failed: 0,
    });
  }, 60_000);

  test("a connection that fails is tried again as often as was asked for", async () => {
    const { code, out } = await runExecutable([
      "bench",
      "conn",
      "-h",
      "127.0.0.1",
      "-p",
      "1",
      "-c",
      "2",
      "--num-retry-connect",
      "3",
      "-d",
      "1",
      "--json",
    ]);
    expect([code, JSON.parse(out).failed]).toEqual([1, 2]);
  }, 60_000);

  test("what is refused is one line", async () => {
    const { code, out, err } = await runExecutable(["bench", "pub", ...to, "-t", "a", "--restapi", "8080"]);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toMatch(/^mqttzoo: --restapi: there is no server in it: [^\n]+\n$/);
  });
});

test("--html writes a page that stands alone, with charts", async () => {
  const page = join(folder, "results.html");
  const words = ["bench", "e2e", "-c", "2", "-I", "5", "-d", "3", "-q", "1", "--html", page, "--json", ...to];
  const { code, out } = await runExecutable(words);
  expect(code).toBe(0);
  const html = readFileSync(page, "utf8");
  const { sent } = JSON.parse(out);
  expect(html).toStartWith("<!doctype html>");
  for (const words of [
    "Messages a second",
    "Connections",
    "Latencies, ms",
    "deliver",
    `<td>${sent.toLocaleString("en")}</td>`,
  ])
    expect(html).toContain(words);
  expect(html.match(/<svg /g)!.length).toBeGreaterThanOrEqual(4);
  expect(html.match(/<polyline points="[\d., ]+"/g)!.length).toBeGreaterThanOrEqual(3);
  expect(html).not.toMatch(/NaN|Infinity|undefined|<script|(src|href)=/);
  expect((await runExecutable([...words.slice(0, 10), ...to, "--html", "/nowhere/x"])).err).toMatch(
    /cannot write \/nowhere\/x/,
  );
}, 60_000);
