/** The weight of things in the store: never less than that of the znodes that they make, whatever their texts. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { weightPaidBy } from "../../src/bank/price.ts";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { topicPath } from "../../src/coordinator/paths.ts";
import { nodeWeightOf, placeOfTopic, placeWeightOf } from "../../src/coordinator/weight.ts";
import { makePublish } from "../../src/mqtt/publish.ts";
import { room } from "../support/room.ts";

const topic = fc.array(fc.string({ unit: "grapheme", maxLength: 12 }), { minLength: 1, maxLength: 20 }).map(
  (levels) =>
    // biome-ignore lint/suspicious/noControlCharactersInRegex: no topic holds them.
    levels.join("/").replaceAll(/[\u0000+#]/g, "") || "x",
);

test("a place weighs as much as a znode for each of its levels, wherever it stands", () => {
  fc.assert(
    fc.property(topic, (text) => {
      const path = topicPath("/topics", text);
      let levels = 0;
      for (let end = path.indexOf("/", "/topics/".length); ; end = path.indexOf("/", end + 1)) {
        levels += nodeWeightOf(end === -1 ? path : path.slice(0, end), 0);
        if (end === -1) break;
      }
      expect(placeWeightOf(path)).toBeGreaterThanOrEqual(levels);
      expect(placeOfTopic(text).weight).toBeGreaterThanOrEqual(placeWeightOf(path));
    }),
  );
});

test("a message is paid for with its levels, its slips, and the znode that counts its readers", async () => {
  const clientId = fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 });
  const slip = fc.record({ clientId, subscriptionIds: fc.array(fc.integer({ min: 1, max: 1000 }), { maxLength: 9 }) });
  await fc.assert(
    fc.asyncProperty(
      topic,
      fc.uniqueArray(slip, { selector: (one) => one.clientId, minLength: 1, maxLength: 6 }),
      fc.nat(3000),
      async (text, slips, bytes) => {
        const { context, store } = room({ bankTtlMin: 60, bankTtlMax: 60 });
        const { mail, journal, bankAccount } = context;
        const publish = makePublish(encodeUtf8(text), new Uint8Array(bytes), { qos: 1, retain: false });
        const drafts = slips.map((one) => ({ ...one, qos: 1 as const, retain: false, packetId: 0, groupMark: 0 }));
        for (const { operations } of mail.store(publish, { order: mail.nextOrder(), from: 0 }, drafts))
          journal.commit(operations);
        let weight = 0;
        // What stands above a mailbox is paid for with the session.
        for (const [path, { data }] of store.tree.nodes)
          if (path.startsWith("/topics/") || path.includes("/mail/")) weight += nodeWeightOf(path, data.length);
        expect(weight).toBeGreaterThan(448 * (2 + slips.length));
        expect(weightPaidBy(bankAccount.account.bound)).toBeGreaterThanOrEqual(weight);
      },
    ),
    // A line separator is a character of a topic like any other.
    { numRuns: 60, examples: [["\u2028/", [{ clientId: "\u2028", subscriptionIds: [] }], 0]] },
  );
});
