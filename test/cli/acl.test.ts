/** `mqttzoo acl check`: yes or no, and the line of the access list that says so, without a broker. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runExecutable } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-acl-"));
const acl = join(folder, "acl");
writeFileSync(
  acl,
  `# all
topic read public/#
user alice
topic readwrite home/#
topic deny home/safe
user bob
topic read home/+
pattern write up/%c
`,
);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const check = (...words: string[]) => runExecutable(["acl", "check", ...words, "--acl-file", acl]);

test.each([
  [["alice", "home/hall", "write"], 0, `yes: alice may write home/hall: ${acl} line 4: topic readwrite home/#`],
  [["alice", "home/safe", "read"], 1, `no: alice may not read home/safe: ${acl} line 5: topic deny home/safe`],
  [["bob", "home/hall", "write"], 1, `no: bob may not write home/hall: no rule of ${acl} allows it`],
  [["bob", "home/#", "read"], 0, `yes: bob may read home/#: ${acl} line 7: topic read home/+`],
  [["alice", "public/x", "read"], 1, `no: alice may not read public/x: no rule of ${acl} allows it`],
  [
    ["", "public/x", "read"],
    0,
    `yes: a client without a user name may read public/x: ${acl} line 2: topic read public/#`,
  ],
  [["bob", "up/s7", "write", "--client", "s7"], 0, `yes: bob may write up/s7: ${acl} line 8: pattern write up/%c`],
  [["bob", "up/s8", "write", "--client", "s7"], 1, `no: bob may not write up/s8: no rule of ${acl} allows it`],
  [
    ["alice", "$SYS/x", "write"],
    1,
    "no: alice may not write $SYS/x: topics below $SYS and $share are the broker's own",
  ],
] as const)("%j", async (words, code, line) => {
  const ended = await check(...words);
  expect({ ...ended, out: ended.out.split("\n")[0]! }).toEqual({ code, out: line, err: "" });
});

test("without --client a pattern with %c is pointed out", async () => {
  const { code, out } = await check("bob", "up/s7", "write");
  expect(code).toBe(1);
  expect(out).toContain("some patterns look at the client id (%c): name one with --client ID");
});

test("as JSON, with the number of the line", async () => {
  const { code, out } = await check("alice", "home/safe", "write", "--json");
  expect(code).toBe(1);
  expect(JSON.parse(out)).toEqual({
    ...{ user: "alice", client_id: null, topic: "home/safe", access: "write", allowed: false },
    ...{ file: acl, line: 5, by: `${acl} line 5: topic deny home/safe` },
  });
});

test("what cannot be answered ends with 2, in one line", async () => {
  const broken = join(folder, "broken");
  writeFileSync(broken, "user alice\ntopick a\n");
  for (const [words, why] of [
    [["alice", "a/+", "write", "--acl-file", acl], '"a/+" is no topic'],
    [["alice", "a/#/b", "read", "--acl-file", acl], '"a/#/b" is no topic filter'],
    [["alice", "a", "rread", "--acl-file", acl], '"rread" is neither read nor write'],
    [["alice", "a", "read"], "name the brokers' access list: --acl-file FILE"],
    [["alice", "a", "read", "--acl-file", join(folder, "none")], "cannot read"],
    [["alice", "a", "read", "--acl-file", broken], `${broken}: line 2:`],
  ] as const) {
    const { code, out, err } = await runExecutable(["acl", "check", ...words], { env: { MQTTZOO_ACL_FILE: "" } });
    expect([code, out, err.trimEnd().split("\n").length]).toEqual([2, "", 1]);
    expect(err).toContain(why);
  }
});
