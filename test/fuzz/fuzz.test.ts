/**
 * The decoder and the whole broker under bent, cut and random bytes: nothing crashes, a bystander notices
 * nothing, memory stays bounded. A minute, or MQTTZOO_FUZZ_SECONDS; a failure prints its seed and its bytes,
 * MQTTZOO_FUZZ_SEED runs it again.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { concatBytes } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { systemRandom } from "../../src/base/random.ts";
import { Broker } from "../../src/broker/broker.ts";
import { defaultOptions } from "../../src/broker/core/options.ts";
import { Connection } from "../../src/broker/delivery/connection.ts";
import { Turn } from "../../src/net/writer.ts";
import { instantCoordinator } from "../support/instant-coordinator.ts";
import { liveBytes } from "../support/live-bytes.ts";
import { alone } from "../support/machine.ts";
import { connectVectors, plainConnect, vectors } from "./corpus.ts";

const seconds = Number(process.env.MQTTZOO_FUZZ_SECONDS ?? 60);
const seed = Number(process.env.MQTTZOO_FUZZ_SEED ?? Date.now() % 2 ** 31);

/** Small and fast, and the same everywhere: mulberry32. */
function generator(from: number): () => number {
  let state = from;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** True in a process of its own: what other tests leave in theirs would be taken for the broker's. */
const isAlone = process.env.MQTTZOO_FUZZ_ALONE !== undefined;

const random = generator(seed);
const below = (limit: number): number => Math.floor(random() * limit);
const pick = <Item>(items: readonly Item[]): Item => items[below(items.length)]!;

let broker: Broker;
let bystander: Peer;
const turn = new Turn((flush) => queueMicrotask(flush));

class Peer {
  readonly connection: Connection;
  received = 0;
  last: Uint8Array = new Uint8Array(0);
  closed = false;

  constructor() {
    const write = (bytes: Uint8Array, start: number, end: number): number => {
      this.received += end - start;
      this.last = bytes.slice(start, end);
      return end - start;
    };
    const close = (): void => {
      this.closed = true;
    };
    this.connection = new Connection(
      { remote: "fuzz", address: "", certificate: undefined, write, pause() {}, resume() {}, close, abort: close },
      turn,
      (connection) => broker.handle({ kind: "drained", connection }),
    );
    broker.handle({ kind: "opened", connection: this.connection });
  }

  send(bytes: Uint8Array): void {
    if (!this.closed) broker.handle({ kind: "received", connection: this.connection, bytes });
  }

  leave(): void {
    broker.handle({ kind: "closed", connection: this.connection, why: undefined });
  }
}

beforeAll(async () => {
  broker = await Broker.start({
    options: { ...defaultOptions, maxPacketSize: 100_000, sessionExpiryMax: 1 },
    coordinator: instantCoordinator(),
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    turn,
    ...alone,
  });
  // The store remembers nothing, the bank neither.
  Object.assign(broker.context.bankAccount.account, { grant: Number.MAX_SAFE_INTEGER, isOpen: true });
  bystander = new Peer();
  bystander.send(plainConnect);
});
afterAll(() => bystander.leave());

function mutate(vector: Uint8Array): Uint8Array {
  const bytes = Uint8Array.from(vector);
  switch (below(6)) {
    case 0:
      for (let count = 1 + below(4); count > 0; count--) bytes[below(bytes.length)] = below(256);
      return bytes;
    case 1:
      return bytes.slice(0, below(bytes.length));
    case 2:
      bytes[below(bytes.length)] = pick([0, 1, 0x7f, 0x80, 0xff]);
      return bytes;
    case 3: {
      const at = below(bytes.length);
      return concatBytes([
        bytes.slice(0, at),
        Uint8Array.from({ length: below(9) }, () => below(256)),
        bytes.slice(at),
      ]);
    }
    case 4:
      return concatBytes([bytes.slice(0, below(bytes.length)), pick(vectors)]);
    default:
      return Uint8Array.from({ length: below(200) }, () => below(256));
  }
}

/** Splits at random places, so that every state of the framer is met. */
function sendInPieces(peer: Peer, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    const size = random() < 0.5 ? bytes.length : 1 + below(bytes.length);
    peer.send(bytes.slice(at, at + size));
    at += size;
  }
}

async function checkBystander(): Promise<void> {
  const before = bystander.received;
  bystander.send(Uint8Array.of(0xc0, 0));
  await Promise.resolve();
  turn.flush();
  expect(bystander.closed).toBe(false);
  expect(bystander.received).toBe(before + 2);
}

test("every vector cut at every byte, and with bytes behind it", async () => {
  for (const vector of [...connectVectors, ...vectors]) {
    const isConnect = connectVectors.includes(vector);
    for (let cut = 0; cut <= vector.length; cut++) {
      const peer = new Peer();
      if (!isConnect) peer.send(plainConnect);
      peer.send(vector.slice(0, cut));
      peer.send(vector.slice(cut));
      const refused = vector[0] === 0xe0 || vector[0] === 0xf0 || [4, 5, 7].includes(vector[0]! >> 4);
      // Acks of packet ids that were never sent are passed over; DISCONNECT closes, AUTH is refused.
      if (!refused) expect(peer.closed).toBe(false);
      peer.leave();
    }
  }
  await checkBystander();
});

test(
  `bent bytes for ${seconds} seconds, seed ${seed}`,
  async () => {
    if (!isAlone) {
      const limit = String((seconds + 60) * 1000);
      const child = Bun.spawn([process.execPath, "test", "--timeout", limit, "-t", "bent bytes", import.meta.path], {
        env: { ...process.env, MQTTZOO_FUZZ_ALONE: "1", MQTTZOO_FUZZ_SEED: String(seed) },
        stdout: "inherit",
        stderr: "inherit",
      });
      expect(await child.exited).toBe(0);
      return;
    }
    const endAt = performance.now() + seconds * 1000;
    const before = liveBytes();
    let rounds = 0;
    while (performance.now() < endAt) {
      const sent: Uint8Array[] = [];
      try {
        const peer = new Peer();
        const start =
          random() < 0.8 ? plainConnect : random() < 0.5 ? pick(connectVectors) : mutate(pick(connectVectors));
        for (const bytes of [
          start,
          ...Array.from({ length: 1 + below(6) }, () => (random() < 0.3 ? pick(vectors) : mutate(pick(vectors)))),
        ]) {
          sent.push(bytes);
          sendInPieces(peer, bytes);
        }
        peer.leave();
        rounds++;
        // As a broker with a clock would have it: who was held for others' sake goes on, and leaves.
        if (broker.nextDeadline() <= systemClock.now()) broker.handle({ kind: "tick" });
        if (rounds % 500 === 0) {
          await checkBystander();
          await new Promise((resolve) => setImmediate(resolve));
        }
      } catch (error) {
        console.error(
          `seed ${seed}, round ${rounds}: ${sent.map((bytes) => Buffer.from(bytes).toString("hex")).join(" | ")}`,
        );
        throw error;
      }
    }
    await checkBystander();
    console.log(`${rounds} connections fuzzed in ${seconds} s`);
    expect(rounds).toBeGreaterThan(seconds * 100);
    // Who publishes on what is remembered of so many topics, for people; nothing else may be left.
    expect(liveBytes() - before).toBeLessThan(100e6);
  },
  (seconds + 60) * 1000,
);
