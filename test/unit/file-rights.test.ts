/** The rights of files that the broker and its tools write: nobody else reads them, or has them written elsewhere. */
import { expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { replaceText } from "../../src/server/operator-files.ts";
import { startBroker } from "../support/broker.ts";
import { RawClient } from "../support/raw-client.ts";

const rightsOf = (path: string): number => statSync(path).mode & 0o777;

test("the store's folder and files are its owner's alone; files of an older store are closed, a folder that was there stays", async () => {
  const parent = mkdtempSync(join(tmpdir(), "mqttzoo-rights-"));
  const data = join(parent, "new", "store");
  const open = (): string[] => readdirSync(data).filter((name) => (rightsOf(join(data, name)) & 0o077) !== 0);
  let broker = await startBroker({ data });
  const client = await RawClient.connect(broker.port);
  client.publish("kept", "x", { qos: 1, retain: true, messageId: 1 });
  await client.take("puback");
  expect([rightsOf(data), rightsOf(join(parent, "new")), open()]).toEqual([0o700, 0o700, []]);
  expect(readdirSync(data)).toContain("tree.db-wal");
  await broker.server.stop();
  expect(open()).toEqual([]);
  for (const name of readdirSync(data)) chmodSync(join(data, name), 0o644);
  chmodSync(data, 0o755);
  broker = await startBroker({ data });
  expect([rightsOf(data), open()]).toEqual([0o755, []]);
  await broker.server.stop();
  rmSync(parent, { recursive: true });
});

test("a file is replaced through another whose name nobody can guess, and through no link", () => {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-rights-"));
  const [path, victim] = [join(folder, "users"), join(folder, "victim")];
  mkdirSync(join(folder, "sub"));
  writeFileSync(victim, "mine");
  writeFileSync(path, "alice:old\n", { mode: 0o640 });
  symlinkSync(victim, `${path}.${process.pid}.new`);
  replaceText(path, "alice:new\n");
  expect([readFileSync(path, "utf8"), readFileSync(victim, "utf8"), rightsOf(path)]).toEqual([
    "alice:new\n",
    "mine",
    0o640,
  ]);
  replaceText(join(folder, "fresh"), "bob:x\n");
  expect(rightsOf(join(folder, "fresh"))).toBe(0o600);
  expect(readdirSync(folder).sort()).toEqual(["fresh", "sub", "users", `users.${process.pid}.new`, "victim"].sort());
  rmSync(folder, { recursive: true });
});
