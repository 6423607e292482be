/** Completion in the shells that people use, as the shell itself finds it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { removeFolder } from "../support/folder.ts";
import { executable, runExecutable } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-completion-"));
afterAll(() => removeFolder(folder));
beforeAll(async () => {
  for (const shell of ["bash", "zsh", "fish"])
    writeFileSync(join(folder, shell), (await runExecutable(["completion", shell])).out);
});

/** Has a shell run a script, with ours on its way to find commands; returns what it prints, a line each. */
function linesOf(command: readonly string[]): string[] {
  const env = { ...process.env, PATH: `${dirname(executable)}:${process.env.PATH}`, HOME: folder, TERM: "dumb" };
  const { stdout, stderr } = Bun.spawnSync([...command], { cwd: folder, env, stdin: "ignore" });
  expect(stderr.toString()).toBe("");
  return stdout.toString().split("\n").filter(Boolean);
}

/** Each shell, asked for what it offers behind the last of the words. */
const ask: Record<string, (words: readonly string[]) => string[]> = {
  bash(words) {
    const line = words.map((word) => `'${word}'`).join(" ");
    const at = `COMP_WORDS=(${line}); COMP_CWORD=${words.length - 1}`;
    const script = `source ./bash; ${at}; compopt() { echo ":$2"; }; _mqttzoo; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return linesOf(["bash", "-c", script]);
  },
  zsh(words) {
    const line = words.map((word) => `'${word}'`).join(" ");
    const say = "_describe() { print -l -- $found }; _files() { print -- :default }";
    const script = `compdef() { }; source ./zsh; ${say}; words=(${line}); CURRENT=${words.length}; _mqttzoo`;
    return linesOf(["zsh", "-f", "-c", script]).map((word) =>
      word.replace(/(?<!\\):.*/, (help) => (word === help ? word : "")),
    );
  },
  fish(words) {
    const script = `source ./fish; complete -C "${words.join(" ")}"`;
    return linesOf(["fish", "--no-config", "-c", script]).map((line) => line.split("\t")[0]!);
  },
};

describe.each(Object.keys(ask))("%s offers", (shell) => {
  test.each([
    ["commands", ["re"], ["record", "repair", "replay", "retained"]],
    ["commands below a command", ["bank", "mail", ""], ["list", "show", "drop"]],
    ["options", ["broker", "--max-pa"], ["--max-packet-size"]],
    ["options where others stand before the command", ["bank", "--data", "x", "audit", "--sh"], ["--share"]],
    ["the values of an option", ["bank", "statement", "--by", "u"], ["user"]],
    ["the values of a broker's option", ["broker", "--mailbox-full", ""], ["end", "refuse"]],
    ["the values of an argument", ["completion", "z"], ["zsh"]],
    ["nothing for what is free text", ["pub", "-m", ""], []],
  ])("%s", (_, words, found) => {
    expect(ask[shell]!(["mqttzoo", ...words]).sort()).toEqual([...found].sort());
  });

  test("names of files", () => {
    writeFileSync(join(folder, "payload.json"), "{}");
    const found = ask[shell]!(["mqttzoo", "pub", "-f", "payl"]);
    expect(found).toEqual([shell === "fish" ? "payload.json" : ":default"]);
  });
});

test("bash takes = for a word of its own", () => {
  expect(ask.bash!(["mqttzoo", "broker", "--mailbox-full", "=", "r"])).toEqual(["refuse"]);
});

describe("topics", () => {
  let broker: TestBroker;
  beforeAll(async () => {
    broker = await startBroker();
    const client = await RawClient.connect(broker.port);
    for (const topic of ["home/kitchen/temp", "home/kitchen/light", "home/hall", "garden/gate"])
      client.publish(topic, "x", { retain: true, qos: 1, messageId: 1 });
    await client.takeMany("puback", 4);
    client.disconnect();
  });
  afterAll(() => broker.stop());

  const found = async (how: readonly string[], ...words: readonly string[]): Promise<string[]> =>
    (await runExecutable(["__complete", ...how, "--", ...words])).out.split("\n").filter(Boolean);

  test("are asked of the broker that the line names, up to the next slash, if that was asked for", async () => {
    const line = ["pub", "-h", "127.0.0.1", "-p", String(broker.port), "-t"];
    expect(await found(["--topics"], ...line, "")).toEqual(["garden/", "home/"]);
    expect(await found(["--topics"], ...line, "home/")).toEqual(["home/hall", "home/kitchen/"]);
    expect(await found(["--topics"], ...line, "home/kitchen/t")).toEqual(["home/kitchen/temp"]);
    expect(await found([], ...line, "home/")).toEqual([]);
  });

  test("of a broker that is not there, or of flags that cannot be meant, are none; nothing is said", async () => {
    for (const words of [
      ["pub", "-p", "1", "-t", ""],
      ["sub", "-p", "x", "-t", ""],
    ])
      expect(await runExecutable(["__complete", "--topics", "--", ...words])).toMatchObject({
        code: 0,
        out: "",
        err: "",
      });
  });

  test("stand in the script with --topics", async () => {
    for (const shell of Object.keys(ask))
      expect((await runExecutable(["completion", shell, "--topics"])).out).toContain("__complete --topics");
  });
});
