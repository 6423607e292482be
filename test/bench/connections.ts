/**
 * Connections: how many a second the broker answers, and what an idle one costs. A process of its own; prints
 * its result as JSON.
 */
import type { Socket } from "bun";
import { residentBytes } from "./process.ts";

export interface ConnectionsResult {
  readonly perSecond: number;
  readonly bytesPerConnection: number;
}

const [port, brokerPid, count] = process.argv.slice(2).map(Number) as [number, number, number];
/** Dialled at once. */
const concurrency = 200;

function connectPacket(id: string): Uint8Array {
  const name = Buffer.from(id);
  return Buffer.concat([Buffer.from([0x10, 12 + name.length, 0, 4, 77, 81, 84, 84, 4, 2, 0, 0, 0, name.length]), name]);
}

async function open(index: number): Promise<Socket<unknown>> {
  const answered = Promise.withResolvers<void>();
  const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data: () => answered.resolve() } });
  socket.write(connectPacket(`idle-${index}`));
  await answered.promise;
  return socket;
}

async function openAll(total: number): Promise<Socket<unknown>[]> {
  const sockets: Socket<unknown>[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < total) sockets.push(await open(next++));
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return sockets;
}

// Warm: code is compiled and buffers are there before anything is counted.
for (const socket of await openAll(500)) socket.end();
await Bun.sleep(1500);
const before = residentBytes(brokerPid);
const startedAt = performance.now();
const sockets = await openAll(count);
const perSecond = count / ((performance.now() - startedAt) / 1000);
await Bun.sleep(3000);
const result: ConnectionsResult = { perSecond, bytesPerConnection: (residentBytes(brokerPid) - before) / count };
console.log(JSON.stringify(result));
for (const socket of sockets) socket.terminate();
process.exit(0);
