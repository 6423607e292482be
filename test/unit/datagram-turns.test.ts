/** Datagrams that come faster than they are handled: everybody else has a turn in between. */
import { expect, test } from "bun:test";
import { datagramsWaitingBytesMax, datagramsWaitingMax, datagramTurnMs } from "../../src/base/limits.ts";
import { DatagramTurns } from "../../src/net/datagram-turns.ts";
import { dialUdp, listenUdp } from "../../src/net/udp.ts";
import { eventually } from "../support/broker.ts";

/** Keeps the processor busy. */
function spend(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

test("a socket's datagrams are handled for a part of each turn, all of them, in their order", async () => {
  const numbers: number[] = [];
  /** How many were handled in each turn. */
  const turns: number[] = [];
  let handled = 0;
  let isOver = false;
  const goOn = (): void => {
    turns.push(handled);
    handled = 0;
    if (!isOver) setImmediate(goOn);
  };
  const socket = await listenUdp({
    ...{ host: "127.0.0.1", port: 0, receiveBufferBytes: 4 * 1024 * 1024, group: undefined },
    received(bytes) {
      numbers.push((bytes[0]! << 8) | bytes[1]!);
      handled++;
      spend(1);
    },
    lost: () => expect.unreachable(),
    failed: (why) => expect.unreachable(why),
  });
  const line = await dialUdp("127.0.0.1", socket.port, { received() {}, failed() {} });
  goOn();
  const count = 150;
  for (let number = 0; number < count; number++) line.send(Uint8Array.of(number >> 8, number & 255));
  await eventually(() => numbers.length === count, "all have come");
  isOver = true;
  expect(numbers).toEqual(Array.from({ length: count }, (_, number) => number));
  expect(Math.max(...turns)).toBeLessThanOrEqual(3 * datagramTurnMs);
  line.close();
  socket.close();
});

test("what is too much waits, as much as there is room for; its bytes are kept, the rest is lost", async () => {
  const handed: string[] = [];
  const turns = new DatagramTurns<string>((bytes, from) => {
    handed.push(`${from} ${bytes.length} ${bytes[0]}`);
    if (handed.length === 1) spend(datagramTurnMs);
  });
  const bytes = Uint8Array.of(1, 2);
  const taken = Array.from({ length: datagramsWaitingMax + 3 }, (_, number) => turns.take(bytes, String(number)));
  bytes[0] = 9;
  expect(taken).toEqual(taken.map((_, number) => number <= datagramsWaitingMax));
  expect(handed).toEqual(["0 2 1"]);
  await eventually(() => handed.length === datagramsWaitingMax + 1, "all that waited were handed on");
  expect(handed).toEqual(handed.map((_, number) => `${number} 2 1`));
  // By their bytes, too; and when all have gone there is room again.
  const seen: number[] = [];
  const large = new DatagramTurns<number>((_, number) => {
    seen.push(number);
    spend(2 * datagramTurnMs);
  });
  const half = new Uint8Array(datagramsWaitingBytesMax / 2);
  expect([1, 2, 3, 4].map((number) => large.take(half, number))).toEqual([true, true, true, false]);
  // Those that wait have a part of each turn, too.
  await new Promise<void>((done) => void setImmediate(done));
  expect(seen).toEqual([1, 2]);
  await eventually(() => large.take(half, 5), "there is room again");
});
