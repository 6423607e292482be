/** Slips whose commit was in doubt are found in a long mailbox with few reads, however many they are. */
import { expect, test } from "bun:test";
import { noBytes } from "../../src/base/bytes.ts";
import { mailPageSlips } from "../../src/base/limits.ts";
import type { Coordinator, ReadOperation, WriteOperation } from "../../src/coordinator/coordinator.ts";
import { mailPath, sessionPath } from "../../src/coordinator/paths.ts";
import { quietReader } from "../../src/mail/record-reader.ts";
import { encodeSlip } from "../../src/mail/records.ts";
import { SlipSearch } from "../../src/mail/slip-search.ts";
import { MemoryTree } from "../simulation/memory-tree.ts";
import { blankSlip } from "../support/blank-slip.ts";

/** A store that counts what is read, answers when it is told to, and knows how many listings are under way. */
class CountingStore {
  readonly tree = new MemoryTree();
  gets = 0;
  listings = 0;
  listingsAtOnce = 0;
  #listing = 0;
  readonly #waiting: (() => void)[] = [];

  readonly read: Coordinator["read"] = (operations, done) => {
    const isListing = operations.some(({ kind }) => kind === "children");
    if (isListing) this.listingsAtOnce = Math.max(this.listingsAtOnce, ++this.#listing);
    this.listings += Number(isListing);
    this.gets += operations.filter(({ kind }: ReadOperation) => kind === "get").length;
    this.#waiting.push(() => {
      if (isListing) this.#listing--;
      done(
        undefined,
        operations.map((operation) => this.tree.read(operation)),
      );
    });
  };

  async answerAll(): Promise<void> {
    for (let answered = true; answered; ) {
      await Bun.sleep(0);
      const waiting = this.#waiting.splice(0);
      for (const answer of waiting) answer();
      answered = waiting.length > 0;
    }
  }

  /** Puts a slip for a message into a mailbox; returns its name. */
  put(clientId: string, messagePath: string): string {
    const create: WriteOperation = {
      kind: "create",
      path: `${mailPath(clientId)}/`,
      data: encodeSlip({ ...blankSlip, messagePath }),
      mode: "sequential",
    };
    const [result] = this.tree.write([create], this) as readonly { path: string }[];
    return result!.path.split("/").at(-1)!;
  }
}

function mailboxOf(clientId: string): CountingStore {
  const store = new CountingStore();
  const path = sessionPath(clientId);
  const nodes = ["/sessions", path.slice(0, path.lastIndexOf("/")), path, mailPath(clientId)];
  for (const node of nodes)
    store.tree.write([{ kind: "create", path: node, data: noBytes, mode: "persistent" }], store);
  return store;
}

test("three hundred slips in doubt cost two listings of their mailbox, and reads of what is newest", async () => {
  const store = mailboxOf("away");
  for (let number = 0; number < 20_000; number++) store.put("away", `/topics/t/=old${number}`);
  const search = new SlipSearch(store, quietReader);
  const found = new Map<string, string | undefined>();
  const due = new Map<string, string | undefined>();
  const stored = Array.from({ length: 300 }, (_, number) => `/topics/t/=new${number}`);
  for (const messagePath of stored) due.set(messagePath, store.put("away", messagePath));
  for (let number = 0; number < 40; number++) store.put("away", `/topics/t/=others${number}`);
  for (const [index, messagePath] of stored.entries()) {
    search.find({ clientId: "away", messagePath, found: (name) => found.set(messagePath, name) });
    // Their doubts end in different turns.
    if (index === 150) await Bun.sleep(0);
  }
  await store.answerAll();
  expect(found).toEqual(due);
  expect(store.listings).toBeLessThanOrEqual(2);
  expect(store.listingsAtOnce).toBe(1);
  expect(store.gets).toBeLessThanOrEqual(4 * mailPageSlips);
});

test("what is not there any more is told as gone, after one search; slips for one message are told apart", async () => {
  const store = mailboxOf("away");
  for (let number = 0; number < 1000; number++) store.put("away", `/topics/t/=old${number}`);
  const names = [store.put("away", "/topics/t/=twice"), store.put("away", "/topics/t/=twice")];
  const search = new SlipSearch(store, quietReader);
  const found: [string, string | undefined][] = [];
  for (const messagePath of ["/topics/t/=gone", "/topics/t/=twice", "/topics/t/=twice"])
    search.find({ clientId: "away", messagePath, found: (name) => found.push([messagePath, name]) });
  await store.answerAll();
  expect(found.filter(([path]) => path === "/topics/t/=twice").map(([, name]) => name!)).toEqual(names.toReversed());
  expect(found).toContainEqual(["/topics/t/=gone", undefined]);
  expect(store.gets).toBe(1002);
});
