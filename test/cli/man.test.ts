/** The manual pages say what the commands' own help says, and troff takes them. */
import { expect, test } from "bun:test";
import { runExecutable } from "../support/process.ts";

const pageOf = async (name: string): Promise<string> => (await runExecutable(["__man", name])).out;
const pages = (await runExecutable(["__man"])).out.trim().split("\n");

/** Runs a program with text as its input; returns what it says. */
async function filter(text: string, ...command: readonly string[]): Promise<string> {
  const child = Bun.spawn([...command], { stdin: Buffer.from(text), stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  await child.exited;
  return out + err;
}

/** Returns a page as people read it, its lines not broken. */
async function shown(name: string): Promise<string> {
  // -P-c: no colours, but letters struck over, as typewriters had it; col takes these out.
  const text = await filter(await pageOf(name), "groff", "-k", "-man", "-Tutf8", "-P-cbou", "-rLL=2000n");
  return text.replace(/[\u2010\u2212]/g, "-").replace(/\s+/g, " ");
}

test("there is a page of the program and of each command", async () => {
  const { out } = await runExecutable(["--help"]);
  const commands = [
    ...out.slice(out.indexOf("\nCommands:"), out.indexOf("\nExamples:")).matchAll(/^ {2}([a-z]+) /gm),
  ].map(([, name]) => name);
  expect(commands.length).toBeGreaterThan(15);
  expect(pages).toEqual(["mqttzoo", ...commands.map((name) => `mqttzoo-${name}`)]);
  const { code, err } = await runExecutable(["__man", "mqttzoo-brew"]);
  expect([code, err]).toEqual([2, expect.stringContaining("no page mqttzoo-brew; there are mqttzoo, mqttzoo-broker,")]);
});

test("troff finds nothing wrong with any page", async () => {
  for (const name of pages)
    expect([name, await filter(await pageOf(name), "groff", "-k", "-man", "-ww", "-z", "-Tutf8")]).toEqual([name, ""]);
});

test("a page has every flag of its command's help, each variable once, and the examples", async () => {
  for (const name of pages.slice(1)) {
    const command = name.slice("mqttzoo-".length);
    const { out } = await runExecutable([command, "--help"]);
    const page = await shown(name);
    expect(page).not.toMatch(/env: (MQTTZOO_\w+)\) \([^)]*env: \1\)/);
    const flags = [...out.matchAll(/^ {2}(?:-\w, )?(--[a-z][\w-]*)/gm)].map(([, flag]) => flag!);
    expect([name, flags.filter((flag) => !page.includes(flag))]).toEqual([name, []]);
    const examples =
      out
        .split(/\nExamples?:\n/)[1]
        ?.split("\n")
        .filter((line) => line.trim() !== "") ?? [];
    expect([name, examples.length > 0]).toEqual([name, true]);
    const flat = (text: string): string => text.replace(/\s+/g, " ").trim();
    expect([name, examples.map(flat).filter((line) => !page.includes(line))]).toEqual([name, []]);
  }
});

test("a page has the commands below its command, each option with its words", async () => {
  const page = await shown("mqttzoo-bank");
  for (const words of [
    "NAME mqttzoo-bank - The bank that pays for stored messages",
    "SYNOPSIS mqttzoo bank [options] [command]",
    "BANK AUDIT bank audit [options] prove that it balances",
    "--share <PERCENT> also that no user holds more than that of the capital",
    "As above: --zk <HOSTS>; --zk-auth-file <FILE>",
    "SEE ALSO mqttzoo(1), mqttzoo-broker(1)",
  ])
    expect(page).toContain(words);
});
