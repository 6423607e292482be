/** Connections that send faster than is read: one chunk of each is read in a turn of the event loop. */
import { expect, test } from "bun:test";
import { restBytesMin } from "../../src/base/limits.ts";
import { listenTcp } from "../../src/net/tcp.ts";
import type { Transport, TransportEvents } from "../../src/net/transport.ts";
import { eventually } from "../support/broker.ts";

interface Sender {
  readonly transport: Transport;
  received: number;
}

const total = 64 * 1024 * 1024;

test("a connection is read once in a turn, all of it in the end, and not while its owner does not read", async () => {
  /** Bytes of the chunks that came in each turn. */
  const turns: number[][] = [];
  let turn: number[] = [];
  let isOver = false;
  const goOn = (): void => {
    if (turn.length > 0) turns.push(turn);
    turn = [];
    if (!isOver) setImmediate(goOn);
  };
  const senders: Sender[] = [];
  /** Bytes that had come when its owner paused it, once, after a large chunk; undefined: it is read. */
  let pausedAt: number | undefined;
  let hasPaused = false;
  const events: TransportEvents<Sender> = {
    opened(transport) {
      transport.pause();
      senders.push({ transport, received: 0 });
      return senders.at(-1)!;
    },
    received(sender, bytes) {
      expect(pausedAt).toBeUndefined();
      turn.push(bytes.length);
      sender.received += bytes.length;
      if (hasPaused || sender.received < total / 2 || bytes.length < restBytesMin) return;
      hasPaused = true;
      pausedAt = sender.received;
      // When it rests already.
      queueMicrotask(() => sender.transport.pause());
    },
    drained() {},
    closed() {},
  };
  const listener = listenTcp("127.0.0.1", 0, events, { flag: "--port" });
  const bytes = new Uint8Array(total);
  let sent = 0;
  const write = (socket: { write(bytes: Uint8Array): number }): void => {
    sent += Math.max(0, socket.write(bytes.subarray(sent)));
  };
  const client = await Bun.connect({
    hostname: "127.0.0.1",
    port: listener.port,
    socket: { open: write, drain: write, data() {} },
  });
  let before = -1;
  await eventually(
    () => {
      const isFull = sent > restBytesMin && sent === before;
      before = sent;
      return isFull && senders.length === 1;
    },
    "the kernel takes no more",
    10_000,
  );
  goOn();
  const [sender] = senders;
  sender!.transport.resume();
  await eventually(() => pausedAt !== undefined, "half of it has come", 20_000);
  for (let waited = 0; waited < 20; waited++) await new Promise<void>((done) => setImmediate(done));
  expect(sender!.received).toBe(pausedAt!);
  pausedAt = undefined;
  sender!.transport.resume();
  await eventually(() => sender!.received === total, "all of it has come", 20_000);
  isOver = true;
  // Bun itself reads up to eleven chunks.
  const most = Math.max(...turns.map((chunks) => chunks.filter((size) => size >= restBytesMin).length));
  expect(most).toBe(1);
  client.terminate();
  listener.close();
});
