/** Messages that a broker closes the connection on: they are found and refused, and no other one is. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { ClientSession, type Unacknowledged } from "../../src/client/client-session.ts";
import { Flight } from "../../src/client/flight.ts";
import { Suspicion } from "../../src/client/suspicion.ts";
import { makePublish } from "../../src/mqtt/publish.ts";
import { Reason } from "../../src/mqtt/reason.ts";

function unacknowledged(name: string): Unacknowledged {
  const publish = makePublish(encodeUtf8("t"), encodeUtf8(name), { qos: 1, retain: false });
  return { publish, released: false, reason: Reason.success };
}

const loss = { sinceMs: 0, acks: 0, outgoing: 1, reason: undefined, isMute: true };

test("a publish that was alone when the broker closed, twice, is refused", () => {
  const suspicion = new Suspicion<Unacknowledged>();
  const alone = unacknowledged("a");
  expect(suspicion.lost({ ...loss, alone })).toBeUndefined();
  expect(suspicion.isCareful).toBe(true);
  expect(suspicion.lost({ ...loss, alone })).toBe(alone);
});

test("one that another follows begins anew", () => {
  const suspicion = new Suspicion<Unacknowledged>();
  const [a, b] = [unacknowledged("a"), unacknowledged("b")];
  expect(suspicion.lost({ ...loss, alone: a })).toBeUndefined();
  expect(suspicion.lost({ ...loss, alone: b })).toBeUndefined();
  expect(suspicion.lost({ ...loss, alone: a })).toBeUndefined();
});

test("a broker that says why is believed: too large at once, shutting down never", () => {
  const suspicion = new Suspicion<Unacknowledged>();
  const alone = unacknowledged("a");
  for (let count = 0; count < 5; count++)
    expect(suspicion.lost({ ...loss, alone, reason: Reason.serverShuttingDown })).toBeUndefined();
  expect(suspicion.lost({ ...loss, alone, reason: Reason.packetTooLarge })).toBe(alone);
});

test("a broker that could say why, and does not, is not believed to mean the message", () => {
  const suspicion = new Suspicion<Unacknowledged>();
  const alone = unacknowledged("a");
  for (let count = 0; count < 5; count++) expect(suspicion.lost({ ...loss, alone, isMute: false })).toBeUndefined();
  expect(suspicion.isCareful).toBe(false);
  expect(suspicion.lost({ ...loss, alone, isMute: false, reason: Reason.packetTooLarge })).toBe(alone);
});

test("a broker that has waited before it closed has another reason", () => {
  const suspicion = new Suspicion<Unacknowledged>();
  for (let count = 0; count < 5; count++)
    expect(suspicion.lost({ ...loss, alone: unacknowledged("a"), sinceMs: 30_000 })).toBeUndefined();
});

test("a broker that dies is not one that refuses; at last it is, for one that can never be reached at another address", () => {
  const suspicion = new Suspicion<Unacknowledged>();
  const alone = unacknowledged("a");
  let closings = 1;
  suspicion.lost({ ...loss, alone });
  for (; closings < 20; closings++) {
    suspicion.failed();
    if (suspicion.lost({ ...loss, alone }) !== undefined) break;
  }
  expect(closings).toBe(4);
});

test("after an ack all go at once again, and what is left of those that were doubtful one by one", () => {
  const suspicion = new Suspicion<Unacknowledged>();
  suspicion.lost({ ...loss, alone: undefined, acks: 3, outgoing: 5 });
  expect(suspicion.isCareful).toBe(false);
  suspicion.lost({ ...loss, alone: undefined, outgoing: 2 });
  expect(suspicion.isCareful).toBe(true);
  suspicion.settled();
  suspicion.settled();
  expect(suspicion.isCareful).toBe(false);
});

test("whatever the order, those that the broker closes on are refused, and all others are acknowledged", () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { minLength: 1, maxLength: 12 }),
      // What of the acks comes before the broker closes: none or all.
      fc.infiniteStream(fc.boolean()),
      (poisons, flushes) => {
        const ended = new Map<Unacknowledged, number>();
        const session = new ClientSession((one, reason) => void ended.set(one, reason), { givesUp: true });
        const all = poisons.map((isPoison) => unacknowledged(isPoison ? "poison" : "good"));
        const isPoison = (one: Unacknowledged): boolean => poisons[all.indexOf(one)]!;
        let connections = 0;
        for (; ended.size < all.length && connections < 100; connections++) {
          const written: [number, Unacknowledged][] = [];
          const flight = new Flight({
            session,
            isMute: true,
            packetBytesMax: () => Infinity,
            write: (packetId, one) => void written.push([packetId, one]),
            refuse: (packetId, reason, why) => session.settle(packetId, reason, why),
          });
          flight.open();
          if (connections === 0) for (const one of all) flight.add(one);
          const withheld: number[] = [];
          const isFlushed = flushes.next().value;
          let isClosed = false;
          for (let next = written.shift(); next !== undefined && !isClosed; next = written.shift()) {
            const [packetId, one] = next;
            isClosed = isPoison(one);
            if (isClosed) break;
            // The broker has nothing to wait for when it has read all.
            if (!isFlushed && written.some(([, later]) => isPoison(later))) withheld.push(packetId);
            else {
              session.settle(packetId, Reason.success, undefined);
              flight.acknowledged();
            }
          }
          if (isClosed) flight.lost(undefined);
        }
        expect(all.map((one) => ended.get(one))).toEqual(
          poisons.map((poison) => (poison ? Reason.unspecifiedError : Reason.success)),
        );
        // For each one with acks before it, one without, two in which it is alone.
        expect(connections).toBeLessThanOrEqual(1 + 4 * poisons.filter(Boolean).length);
      },
    ),
  );
});
