/** Stored mail that is found page by page, and the statement, against a snapshot of the whole store. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { heldBy } from "../../src/audit/audit.ts";
import { removeMailOf, removeMessages } from "../../src/audit/remove-mail.ts";
import { takeSnapshot } from "../../src/audit/snapshot.ts";
import { type HolderKind, holdingsIn } from "../../src/audit/statement.ts";
import {
  clientOf,
  type FoundMessage,
  findMail,
  type MailChoice,
  topicOf,
  waitingFor,
} from "../../src/audit/stored-mail.ts";
import { encodeVault } from "../../src/bank/account-records.ts";
import { encodeUtf8, noBytes } from "../../src/base/bytes.ts";
import { mirrorPageMax } from "../../src/base/limits.ts";
import type { ReadOperation, WriteOperation } from "../../src/coordinator/coordinator.ts";
import { mailPath, messagePath, parentPath, topicPath } from "../../src/coordinator/paths.ts";
import { TreeWalk, walkOrder } from "../../src/coordinator/tree-walk.ts";
import { quietReader } from "../../src/mail/record-reader.ts";
import { encodeMessage, encodeSlip } from "../../src/mail/records.ts";
import { counterPath } from "../../src/mail/slips.ts";
import { makePublish } from "../../src/mqtt/publish.ts";
import { filterMatches } from "../../src/mqtt/topic.ts";
import { MemoryStore } from "../support/memory-store.ts";

/** A message, and the clients that it waits for; none: it is retained. */
interface Mail {
  readonly topic: string;
  readonly payer: string;
  readonly clients: readonly string[];
  readonly credits: number;
}

const level = fc.constantFrom("a", "b", "a-b", "=", "", "x".repeat(150));
const topic = fc.array(level, { minLength: 1, maxLength: 3 }).map((levels) => levels.join("/") || "a");
const mail: fc.Arbitrary<Mail> = fc.record({
  topic,
  payer: fc.constantFrom("", "ann", "bob"),
  clients: fc.uniqueArray(fc.constantFrom("c1", "c2", "c3", "c4", "c5"), { maxLength: 3 }),
  credits: fc.integer({ min: 1, max: 1000 }),
});
const filters = [["#"], ["+"], ["a", "#"], ["a", "+", "b"], ["+", "a-b", "#"], ["a"]];

/** Makes levels that are missing, and a node. */
function put(store: MemoryStore, path: string, data: Uint8Array): void {
  if (path !== "" && !store.tree.nodes.has(parentPath(path) || "/")) put(store, parentPath(path), noBytes);
  const write: WriteOperation = store.tree.nodes.has(path)
    ? { kind: "set", path, data, version: -1 }
    : { kind: "create", path, data, mode: "persistent" };
  store.write([write], (error) => expect(error).toBeUndefined());
}

function storeOf(all: readonly Mail[]): MemoryStore {
  const store = new MemoryStore();
  put(store, "/bank", encodeVault({ capital: 1_000_000, vault: 1_000_000 }));
  for (const path of ["/topics", "/retained", "/sessions", "/parts", "/bank/branches"]) put(store, path, noBytes);
  let number = 0;
  for (const { topic, payer, clients, credits } of all) {
    const id = `${(number++).toString(36)}.1`;
    const publish = makePublish(encodeUtf8(topic), encodeUtf8("x"), { qos: 1, retain: false });
    publish.payer = payer;
    const head = { branch: "b", credits, keepUntil: 1_000_000 * number, recipients: clients.length };
    const path = clients.length === 0 ? topicPath("/retained", topic) : messagePath(topic, id);
    put(store, path, encodeMessage(publish, head));
    if (clients.length > 1) put(store, counterPath(path), noBytes);
    for (const client of clients) {
      const slip = { state: "waiting", qos: 1, retain: false, packetId: 0, subscriptionIds: [], groupMark: 0 } as const;
      const record = { ...slip, ...head, hasParts: false, messagePath: path };
      put(store, `${mailPath(client)}/${String(number).padStart(10, "0")}`, encodeSlip(record));
    }
  }
  return store;
}

async function allOf(store: MemoryStore, choice: MailChoice): Promise<FoundMessage[]> {
  const found: FoundMessage[] = [];
  for await (const { messages } of findMail({ store, reader: quietReader }, choice)) found.push(...messages);
  return found;
}

const pathsOf = (messages: readonly { path: string }[]): string[] => messages.map(({ path }) => path).sort();

test("what is found is what a snapshot has, by filter, by client, and behind any place", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(mail, { maxLength: 30, size: "max" }), fc.nat(), async (all, at) => {
      const store = storeOf(all);
      const taken = (await takeSnapshot(store, 0))!;
      expect(pathsOf(await allOf(store, { levels: undefined }))).toEqual(pathsOf(taken.messages));
      const client = new Set(
        taken.slips.filter(({ path }) => clientOf(path) === "c1").map(({ messagePath }) => messagePath),
      );
      for (const levels of filters) {
        const matching = taken.messages.filter((message) => filterMatches(levels, topicOf(message).split("/")));
        expect(pathsOf(await allOf(store, { levels }))).toEqual(pathsOf(matching));
        const theirs = matching.filter(({ path }) => client.has(path));
        expect(pathsOf(await allOf(store, { levels, clientId: "c1" }))).toEqual(pathsOf(theirs));
      }
      const order = taken.messages.map(({ path }) => walkOrder(path)).sort();
      const after = order[at % Math.max(1, order.length)] ?? "";
      const behind = (await allOf(store, { levels: undefined, after })).map(({ path }) => walkOrder(path)).sort();
      // The place itself may be read once more, and what is on the way to it.
      expect(behind.filter((place) => place > after)).toEqual(order.filter((place) => place > after));
      expect(behind.filter((place) => place < after && !after.startsWith(`${place}\u0001`))).toEqual([]);
    }),
    { numRuns: 60 },
  );
});

test("a statement of any kind, with few holders in memory, is what a snapshot adds up to", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(mail, { maxLength: 30, size: "max" }),
      fc.integer({ min: 3, max: 6 }),
      async (all, holdersMax) => {
        const store = storeOf(all);
        const taken = (await takeSnapshot(store, 0))!;
        const statement = async (by: HolderKind): Promise<Record<string, number>> => {
          const sums: Record<string, number> = {};
          for await (const some of holdingsIn({ store, reader: quietReader }, { by, now: 0, holdersMax })) {
            expect(some.size).toBeLessThanOrEqual(holdersMax);
            for (const [holder, { credits }] of some) {
              expect(sums[holder ?? "null"]).toBeUndefined();
              sums[holder ?? "null"] = credits;
            }
          }
          return sums;
        };
        const sum = (pairs: readonly (readonly [string, number])[]): Record<string, number> => {
          const sums: Record<string, number> = {};
          for (const [holder, credits] of pairs) sums[holder] = (sums[holder] ?? 0) + credits;
          return sums;
        };
        const prices = new Map(taken.messages.map(({ path, credits }) => [path, credits]));
        expect(await statement("topic")).toEqual(sum(taken.messages.map((one) => [topicOf(one), one.credits])));
        expect(await statement("branch")).toEqual(sum(taken.messages.map((one) => [one.branch, one.credits])));
        expect(await statement("user")).toEqual(
          sum([...heldBy(taken)].map(([user, one]) => [user ?? "null", one.credits])),
        );
        expect(await statement("client")).toEqual(
          sum(taken.slips.map(({ path, messagePath }) => [clientOf(path), prices.get(messagePath)!])),
        );
      },
    ),
    { numRuns: 60 },
  );
});

test("one client's mail goes with the last of its slips, and messages with all of theirs", async () => {
  const of = (topic: string, clients: string[]): Mail => ({ topic, clients, payer: "", credits: 1 });
  const store = storeOf([of("a", ["c1", "c2"]), of("b", ["c1"]), of("a/b", ["c1", "c2", "c3"]), of("a", [])]);
  const walked = { store, reader: quietReader };
  const waiting = async (): Promise<Record<string, number>> => {
    const messages = await allOf(store, { levels: undefined });
    const by = await waitingFor(walked, messages);
    return Object.fromEntries(messages.map(({ path, topic }) => [`${path.split("/")[1]} ${topic}`, by.get(path)!]));
  };
  expect(await waiting()).toEqual({ "retained a": 0, "topics a": 2, "topics a/b": 3, "topics b": 1 });
  expect(await removeMailOf(walked, { clientId: "c1", levels: ["#"], max: 2 })).toBe(2);
  expect(await waiting()).toEqual({ "retained a": 0, "topics a": 1, "topics a/b": 3 });
  expect(await removeMailOf(walked, { clientId: "c2", levels: ["a"], max: 9 })).toBe(1);
  expect(await waiting()).toEqual({ "retained a": 0, "topics a/b": 3 });
  expect(await removeMessages(walked, await allOf(store, { levels: undefined }))).toBe(2);
  expect(await waiting()).toEqual({});
  expect([...store.tree.nodes.keys()].filter((path) => /\/mail\/|left|=/.test(path))).toEqual([]);
});

test("a walk holds no more of the tree than a page, and its way down", async () => {
  const store = new MemoryStore();
  put(store, "/topics", noBytes);
  // A walk level by level would hold all of them.
  for (let at = 0; at < 2000; at++)
    for (let below = 0; below < 20; below++) put(store, `/topics/${at}/${below}`, noBytes);
  const asked = new Set<string>();
  let visited = 0;
  let [known, most] = [0, 0];
  let askedForChildren = 0;
  const counting = {
    read(operations: readonly ReadOperation[], done: Parameters<MemoryStore["read"]>[1]): void {
      for (const { path, kind } of operations) {
        asked.add(path);
        if (kind === "children") askedForChildren++;
      }
      store.read(operations, (error, results) => {
        for (const result of results)
          if (typeof result === "object" && "children" in result) known += result.children.length;
        done(error, results);
      });
    },
  };
  const tree = new TreeWalk(counting, "/topics");
  let last = "";
  while (tree.next !== undefined) {
    expect(walkOrder(tree.next) > last).toBe(true);
    last = walkOrder(tree.next);
    tree.readPage(
      () => visited++,
      (error) => expect(error).toBeUndefined(),
    );
    most = Math.max(most, known - (asked.size - 1));
  }
  expect([visited, asked.size]).toEqual([42_000, 42_001]);
  // Those that have none are not asked: they are most of any tree.
  expect(askedForChildren).toBe(2001);
  expect(most).toBeLessThan(2000 + 20 * mirrorPageMax);
});
