/** A room of the broker for tests of wills. */
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { Wills } from "../../src/broker/connect/wills.ts";
import { Bill } from "../../src/broker/core/bill.ts";
import type { LocalSession } from "../../src/broker/delivery/local-session.ts";
import type { DueWill, WillPublisher } from "../../src/broker/publish/publish-will.ts";
import { willPath } from "../../src/coordinator/paths.ts";
import { makePublish, topicOf } from "../../src/mqtt/publish.ts";
import { room } from "./room.ts";

export const will = (topic: string, delay = 0) => ({
  publish: makePublish(encodeUtf8(topic), encodeUtf8("gone"), { qos: 1, retain: false }),
  delay,
  expiryMs: Infinity,
});

/** Wills, and what they have published: with the operations that go with it, done when the test says so. */
export function wills() {
  const made = room();
  const { context } = made;
  const published: string[] = [];
  /** Topics of what has left for its receivers, whatever the store has said then. */
  const left: string[] = [];
  const waiting: (() => void)[] = [];
  const publisher = {
    publish(due: DueWill): void {
      const { publish, operations, standing, leaves, done } = due;
      // What cannot be paid for yet is tried again when the test says so.
      if (parts.isPoor) return void waiting.push(() => publisher.publish(due));
      if (standing() === "over") return;
      leaves();
      left.push(topicOf(publish));
      const commit = (): void =>
        context.journal.commit(
          operations,
          () => {
            published.push(topicOf(publish));
            done();
          },
          done,
        );
      if (parts.isSlow) waiting.push(commit);
      else commit();
    },
  };
  const parts = { isSlow: false, isPoor: false };
  const kept = new Wills(context, publisher as unknown as WillPublisher);
  const connect = (clientId: string, asked?: ReturnType<typeof will>, expiry = 0): LocalSession => {
    const client = context.localSessions.get(clientId) ?? made.session(clientId, expiry);
    const { account } = context.bankAccount;
    const bill = new Bill(account, {
      path: willPath("here", clientId),
      credits: 0,
      payer: "",
      payment: account.reserve(0),
    });
    context.journal.commit(kept.set(client, asked && { ...asked, bill }, () => true));
    return client;
  };
  const isStored = (clientId: string): boolean => made.store.textOf(willPath("here", clientId)) !== undefined;
  return { ...made, wills: kept, published, left, waiting, parts, connect, isStored };
}
