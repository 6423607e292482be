/** Payloads in parts: what is committed with their message, and what a sweep leaves alone. */
import { expect, test } from "bun:test";
import { noBytes } from "../../src/base/bytes.ts";
import { Journal } from "../../src/mail/journal.ts";
import { Mail } from "../../src/mail/mail.ts";
import type { JournalOperation } from "../../src/mail/operations.ts";
import { quietReader } from "../../src/mail/record-reader.ts";
import { Slips } from "../../src/mail/slips.ts";
import { Publish } from "../../src/mqtt/publish.ts";
import { World } from "../simulation/world.ts";

/** Told of what is paid for no longer. */
let onFreed = (_path: string): void => {};

const ledger = {
  branch: "b",
  termsOf: () => ({ credits: 1, keepUntil: Infinity }),
  priceOf: () => 0,
  guard: (): JournalOperation => ({ kind: "check", path: "/", version: () => -1 }),
  keep: () => {},
  freed: (path: string) => onFreed(path),
};

function make() {
  const world = new World(1, { hasLarge: true });
  const coordinator = world.keeper.connect();
  const journal = new Journal(coordinator, world);
  const slips = new Slips({ coordinator, journal, ledger, reader: quietReader });
  const mail = new Mail({ journal, ledger, slips, epoch: 7 });
  const paths = (): string[] => [...world.keeper.tree.nodes.keys()].filter((path) => path.startsWith("/parts/"));
  return { world, journal, slips, mail, paths };
}

function publishOf(bytes: number): Publish {
  const publish = new Publish();
  publish.payloadBytes = new Uint8Array(bytes).fill(7);
  publish.payloadEnd = bytes;
  publish.topicBytes = Buffer.from("t");
  publish.topicEnd = 1;
  return publish;
}

test("parts that a message has claimed since they were looked at are not swept; others are", async () => {
  const { world, journal, slips, mail, paths } = make();
  const claimed = mail.retain(publishOf(60_000), 1);
  const forgotten = mail.retain(publishOf(60_000), 1);
  await world.pass(100);
  expect(paths().length).toBe(2 * (1 + claimed.parts!.count));
  journal.commit([...claimed.checks, { kind: "put", path: "/retained", data: noBytes, exists: false }]);
  await world.pass(100);
  for (const { parts } of [claimed, forgotten]) {
    // As it is when who pays for them has been written, and nothing else.
    const check = { kind: "check", path: `/parts/${parts!.id}`, version: () => 1 } as const;
    slips.payloads.remove({ id: parts!.id, branch: "b" }, check);
  }
  await world.pass(100);
  const { id, count } = claimed.parts!;
  expect(paths().filter((path) => path.startsWith(`/parts/${id}/`)).length).toBe(count);
  expect(paths().filter((path) => path.startsWith(`/parts/${forgotten.parts!.id}/`))).toEqual([]);
});

test("parts are paid for until they are gone", async () => {
  const { world, slips, mail, paths } = make();
  const { id } = mail.retain(publishOf(60_000), 1).parts!;
  await world.pass(100);
  const freed: { path: string; left: number }[] = [];
  onFreed = (path) => freed.push({ path, left: paths().length });
  slips.payloads.remove({ id, branch: "b" });
  await world.pass(100);
  expect(freed).toEqual([{ path: `/parts/${id}`, left: 0 }]);
});

test("a message that needs more checks than a unit can hold does not fit", () => {
  const { mail } = make();
  expect(mail.fits(publishOf(1_000_000))).toBe(true);
  expect(mail.fits(publishOf(10_000_000))).toBe(false);
});
