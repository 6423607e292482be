/** The room `cluster`: how a broker leaves in order. */
import { describe, expect, test } from "bun:test";
import { encodeUtf8 } from "../../../src/base/bytes.ts";
import { drainLookMs, drainOwedMs, drainSettleMs } from "../../../src/base/limits.ts";
import { Drain } from "../../../src/broker/cluster/drain.ts";
import type { Connection } from "../../../src/broker/delivery/connection.ts";
import type { BrokerFacts } from "../../../src/broker/peers/peer.ts";
import { room, settled } from "../../support/room.ts";

describe("leaving in order", () => {
  function scene(...others: readonly Partial<BrokerFacts>[]) {
    const made = room();
    const connections = new Set<Connection>();
    const sent: (string | undefined)[] = [];
    const connectionEnd = {
      sendElsewhere: (connection: Connection, reference: string | undefined) => {
        connections.delete(connection);
        sent.push(reference);
      },
    };
    const members = others.map((facts) => ({ facts }));
    const regrouping = { waiting: 0 };
    const parts = { membership: { members: () => members }, connections, connectionEnd, regrouping };
    const drain = new Drain(made.context, parts as unknown as ConstructorParameters<typeof Drain>[1]);
    const connect = (owedCount = 0): Connection => {
      const connection = { channel: { owedCount } } as unknown as Connection;
      connections.add(connection);
      return connection;
    };
    let isDone = false;
    const begin = (ms: number): void =>
      drain.begin(ms, () => {
        isDone = true;
      });
    return { ...made, connect, begin, drain, sent, isDone: () => isDone, connections, regrouping };
  }
  const facts = (host: string, more: Partial<BrokerFacts> = {}): Partial<BrokerFacts> => ({
    ...{ host, port: 1883, serverReference: "", draining: false },
    ...more,
  });

  test("is done at once where there is nobody to send clients to: alone, or all are leaving", () => {
    for (const made of [scene(), scene(facts("b", { draining: true }))]) {
      made.connect();
      made.begin(1000);
      expect([made.isDone(), made.sent]).toEqual([true, []]);
    }
  });

  test("sends clients away over its time, to the others in turn, in their own words", () => {
    const { connect, begin, sent, isDone, pass } = scene(
      facts("b"),
      facts("c", { serverReference: "outside:8883" }),
      facts("d", { serverReference: "none" }),
    );
    for (let count = 0; count < 4; count++) connect();
    begin(1000);
    pass(300);
    expect(sent).toEqual([]);
    // Each is due at half of 80 % of it: chance is fixed here.
    pass(100 + drainLookMs);
    expect(sent).toEqual(["b:1883", "outside:8883", undefined, "b:1883"]);
    pass(drainLookMs);
    expect(isDone()).toBe(true);
  });

  test("waits for acknowledgements that are owed, for a while, and tells who comes in the last moment", () => {
    const { connect, begin, sent, pass } = scene(facts("b"));
    connect(1);
    begin(100);
    pass(50 + drainLookMs);
    expect(sent).toEqual([]);
    connect();
    pass(drainLookMs);
    expect(sent.length).toBe(1);
    pass(drainOwedMs);
    expect(sent.length).toBe(2);
  });

  test("waits, for a while, for a group's messages that are in its memory alone until somebody can pay for them", () => {
    for (const isPaid of [true, false]) {
      const { begin, isDone, pass, regrouping } = scene(facts("b"));
      regrouping.waiting = 1;
      begin(100);
      pass(drainSettleMs - 10 * drainLookMs);
      expect(isDone()).toBe(false);
      if (isPaid) regrouping.waiting = 0;
      pass(isPaid ? drainLookMs : 20 * drainLookMs);
      expect(isDone()).toBe(true);
    }
  });

  test("ends when everything is settled, or that takes too long", async () => {
    for (const isAnswered of [true, false]) {
      const { context, store, begin, isDone, pass } = scene(facts("b"));
      store.answers = false;
      context.journal.commit([{ kind: "put", path: "/topics/x", data: encodeUtf8("x"), exists: false }]);
      await settled();
      begin(100);
      pass(drainSettleMs - 10 * drainLookMs);
      expect(isDone()).toBe(false);
      if (isAnswered) {
        store.answers = true;
        for (let step = 0; step < 5; step++) {
          store.answer();
          await settled();
        }
        pass(2 * drainLookMs);
      } else pass(20 * drainLookMs);
      expect(isDone()).toBe(true);
    }
  });
});
