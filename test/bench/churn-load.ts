/**
 * Devices that come and go, played at a broker: each is a client id of its own with a will, a subscription of its own
 * and a retained message that it sets and clears; every second one has a session of three seconds, and every second one
 * leaves without DISCONNECT. A device goes on when all it has sent is acknowledged, and acknowledges nothing that it is
 * sent.
 */
import type { Socket } from "bun";

export interface ChurnOptions {
  readonly port: number;
  /** Devices that are there at the same time. */
  readonly concurrent: number;
  /** The time for which new devices come, in milliseconds. */
  readonly ms?: number;
  /** The number of devices after which no more come. */
  readonly devicesMax?: number;
  /** At most so many begin in a second; 0: as many as the broker takes. */
  readonly perSecond?: number;
  /** How long a device stays between setting its retained message and clearing it, in milliseconds. */
  readonly stayMs?: number;
}

export interface ChurnResult {
  /** Devices that were answered all they asked. */
  readonly devices: number;
  /** Connections that failed, or were closed by the broker. */
  readonly failed: number;
  /** From the first to the last device, in seconds. */
  readonly seconds: number;
}

/** Session of a device that keeps one, in seconds. */
export const churnExpirySeconds = 3;
const payload = Buffer.alloc(200, "v");
const packet = { connack: 2, puback: 4, suback: 9, unsuback: 11 } as const;

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

function packetOf(firstByte: number, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  const head = length < 128 ? [firstByte, length] : [firstByte, (length & 0x7f) | 0x80, length >> 7];
  return Buffer.concat([Buffer.from(head), body]);
}

/** The bytes that a device sends: when it has come, and when it goes. */
function wordsOf(clientId: string, topic: string, expirySeconds: number): { coming: Buffer; going: Buffer } {
  const flags = expirySeconds > 0 ? 0x04 : 0x06;
  const head = Buffer.from([0, 4, 77, 81, 84, 84, 5, flags, 0, 30, 5, 0x11, 0, 0, 0, expirySeconds]);
  const none = Buffer.from([0]);
  const connect = packetOf(0x10, head, text(clientId), none, text(`will/${topic}`), text("gone"));
  const subscribe = packetOf(0x82, Buffer.from([0, 1, 0]), text(`${topic}/#`), Buffer.from([1]));
  const name = text(`${topic}/x`);
  const set = packetOf(0x33, name, Buffer.from([0, 2, 0]), payload);
  const clear = packetOf(0x33, name, Buffer.from([0, 3, 0]));
  const unsubscribe = packetOf(0xa2, Buffer.from([0, 4, 0]), text(`${topic}/#`));
  return { coming: Buffer.concat([connect, subscribe, set]), going: Buffer.concat([clear, unsubscribe]) };
}

class Device {
  readonly #going: Buffer;
  readonly #stayMs: number;
  readonly #leavesInOrder: boolean;
  readonly #ended: (isDone: boolean) => void;
  #rest: Uint8Array | undefined;
  #isGoing = false;
  #answers = 0;

  constructor(parts: { going: Buffer; stayMs: number; leavesInOrder: boolean; ended: (isDone: boolean) => void }) {
    this.#going = parts.going;
    this.#stayMs = parts.stayMs;
    this.#leavesInOrder = parts.leavesInOrder;
    this.#ended = parts.ended;
  }

  receive(socket: Socket<Device>, chunk: Uint8Array): void {
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (at + 2 <= bytes.length) {
      let length = bytes[at + 1]!;
      let body = at + 2;
      if (length >= 128) length = (length & 0x7f) + 128 * (bytes[body++] ?? 0);
      if (body + length > bytes.length) break;
      const type = bytes[at]! >> 4;
      if (type === packet.connack || type === packet.puback || type === packet.suback || type === packet.unsuback)
        this.#answered(socket);
      at = body + length;
    }
    this.#rest = at < bytes.length ? bytes.slice(at) : undefined;
  }

  closed(): void {
    this.#ended(false);
  }

  #answered(socket: Socket<Device>): void {
    this.#answers++;
    if (!this.#isGoing && this.#answers === 3) {
      this.#isGoing = true;
      if (this.#stayMs === 0) socket.write(this.#going);
      else setTimeout(() => socket.write(this.#going), Math.random() * this.#stayMs);
    } else if (this.#answers === 5) {
      if (this.#leavesInOrder) socket.write(Buffer.from([0xe0, 0]));
      this.#ended(true);
      socket.end();
    }
  }
}

const handlers = {
  data: (socket: Socket<Device>, bytes: Uint8Array) => socket.data.receive(socket, bytes),
  close: (socket: Socket<Device>) => socket.data.closed(),
  error() {},
};

/** Plays devices until the time is over, or so many have come, and the last one has gone. */
export async function churn(options: ChurnOptions): Promise<ChurnResult> {
  const { port, concurrent, ms = Infinity, devicesMax = Infinity, perSecond = 0, stayMs = 0 } = options;
  const run = Math.random().toString(36).slice(2, 8);
  const startedAt = performance.now();
  const elapsed = (): number => performance.now() - startedAt;
  let begun = 0;
  let devices = 0;
  let failed = 0;
  const one = async (): Promise<void> => {
    const number = begun++;
    const clientId = `d${run}-${number}`;
    const topic = `churn/${Math.floor(Math.random() * 1e9)}/${clientId}`;
    const { coming, going } = wordsOf(clientId, topic, number % 2 === 0 ? churnExpirySeconds : 0);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const data = new Device({ going, stayMs, leavesInOrder: number % 4 < 2, ended: resolve });
    const socket = await Bun.connect<Device>({ hostname: "127.0.0.1", port, data, socket: handlers as never }).catch(
      () => undefined,
    );
    socket?.write(coming);
    if (socket !== undefined && (await promise)) devices++;
    else failed++;
  };
  const slot = async (): Promise<void> => {
    while (elapsed() < ms && begun < devicesMax) {
      if (perSecond === 0 || begun < (perSecond * elapsed()) / 1000) await one();
      else await Bun.sleep(5);
    }
  };
  await Promise.all(Array.from({ length: concurrent }, slot));
  return { devices, failed, seconds: elapsed() / 1000 };
}

if (import.meta.main) {
  const [port, concurrent, ms, perSecond, stayMs] = process.argv.slice(2).map(Number) as number[];
  const options = { port: port!, concurrent: concurrent!, ms: ms!, perSecond: perSecond ?? 0, stayMs: stayMs ?? 0 };
  console.log(JSON.stringify(await churn(options)));
}
