/** The mailbox of a session that ends: emptied in few commits, also where others remove slips at the same time. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { discardedSlipsMax } from "../../src/base/limits.ts";
import type { WriteOperation } from "../../src/coordinator/coordinator.ts";
import { children } from "../../src/coordinator/mirror.ts";
import { mailPath, sessionPath } from "../../src/coordinator/paths.ts";
import { EmbeddedCoordinator } from "../../src/embedded/embedded-coordinator.ts";
import { emptyMailbox } from "../../src/mail/emptying.ts";
import { Journal } from "../../src/mail/journal.ts";
import type { Ledger } from "../../src/mail/ledger.ts";
import { Mail } from "../../src/mail/mail.ts";
import { quietReader } from "../../src/mail/record-reader.ts";
import { type Slip, Slips, slipPath } from "../../src/mail/slips.ts";
import { makePublish } from "../../src/mqtt/publish.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-emptying-"));
const coordinator = await EmbeddedCoordinator.open(folder);
afterAll(async () => {
  await new Promise<void>((resolve) => coordinator.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

const journal = new Journal(coordinator, systemClock);
const freed: string[] = [];
const ledger: Ledger = {
  branch: "b",
  termsOf: () => ({ credits: 1, keepUntil: Infinity }),
  priceOf: () => 0,
  guard: () => ({ kind: "set", path: "/guard", data: encodeUtf8("") }),
  keep() {},
  freed: (path) => void freed.push(path),
};
const slips = new Slips({ coordinator, journal, ledger, reader: quietReader });
const mail = new Mail({ journal, ledger, slips, epoch: 1 });

const settled = (): Promise<void> => new Promise((resolve) => journal.drained(resolve));

/** Stores a message for each client of a list, and returns where it lies. */
function store(...clientIds: string[]): void {
  const publish = makePublish(encodeUtf8("t"), encodeUtf8("x"), { qos: 1, retain: false });
  const rest = { qos: 1, retain: false, subscriptionIds: [], packetId: 0, groupMark: 0 } as const;
  const drafts = clientIds.map((clientId) => ({ ...rest, clientId }));
  for (const { operations } of mail.store(publish, { order: mail.nextOrder(), from: 0 }, drafts))
    journal.commit(operations);
}

async function empty(clientId: string, meanwhile: (slip: Slip) => void): Promise<void> {
  const reassign = (slip: Slip, done: (isGone: boolean) => void): void => {
    meanwhile(slip);
    done(false);
  };
  const names = await children(coordinator, mailPath(clientId));
  const fencingToken = { path: sessionPath(clientId), version: 0 };
  await new Promise<void>((done) =>
    emptyMailbox(slips.named(clientId, names), { slips, journal, reassign, fencingToken, done }),
  );
  await settled();
  // The last of a message's recipients removes it when it knows that it is the last.
  await settled();
}

test("a mailbox is emptied with its messages, in few commits; what others are owed stays", async () => {
  const count = 2 * discardedSlipsMax;
  for (let index = 0; index < count; index++) store("one");
  store("one", "two");
  await settled();
  const before = coordinator.seenZxid;
  await empty("one", () => {});
  expect(await children(coordinator, mailPath("one"))).toEqual([]);
  expect(await children(coordinator, "/topics/t")).toHaveLength(1);
  expect(freed.splice(0)).toHaveLength(count);
  expect(coordinator.seenZxid - before).toBe(3);
  await empty("two", () => {});
  expect(freed.splice(0)).toHaveLength(1);
});

test("where somebody else removes a slip meanwhile the others go all the same, each message once", async () => {
  for (let index = 0; index < 10; index++) store("three");
  await settled();
  let isFirst = true;
  await empty("three", (slip) => {
    if (!isFirst) return;
    isFirst = false;
    const gone = (path: string): WriteOperation => ({ kind: "delete", path, version: -1 });
    coordinator.write([gone(slipPath(slip)), gone(slip.record!.messagePath)], () => {});
  });
  expect(await children(coordinator, mailPath("three"))).toEqual([]);
  expect(await children(coordinator, "/topics/t")).toEqual([]);
  // Whoever has removed the other one has been paid back for it.
  expect(new Set(freed).size).toBe(9);
  expect(freed).toHaveLength(9);
});

test("a recipient whose slip is gone is not counted once more when it acknowledges the message", async () => {
  store("four", "five", "six");
  await settled();
  const [slip] = slips.named("four", await children(coordinator, mailPath("four")));
  await new Promise<void>((done) => slips.readRecords([slip!], done));
  const fencingToken = { path: sessionPath("four"), version: 0 };
  const ended: string[] = [];
  slips.discard({ ...slip!, record: { ...slip!.record! } }, fencingToken);
  slips.release(slip!, { fencingToken, done: () => ended.push("done"), refused: () => ended.push("refused") });
  await settled();
  expect(ended).toEqual(["done"]);
  await empty("five", () => {});
  expect(await children(coordinator, "/topics/t")).toHaveLength(1);
  await empty("six", () => {});
  expect(await children(coordinator, "/topics/t")).toEqual([]);
});
