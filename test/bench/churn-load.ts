/**
 * Devices that come and go, played at a broker: each is a client id of its own with a will, a subscription of its own
 * and a retained message that it sets and clears; every second one has a session of three seconds, and every second one
 * leaves without DISCONNECT. A device goes on when all it has sent is acknowledged, and acknowledges nothing that it is
 * sent. What becomes of one that is not served is counted by how far it had come.
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
  /** A device that has not been served after so long, besides its stay, has failed; in milliseconds. */
  readonly patienceMs?: number;
}

export interface ChurnResult {
  /** Devices that were answered all they asked. */
  readonly devices: number;
  /** Devices among them that had been served before no more new ones came. */
  readonly inTime: number;
  /** Devices that could not connect, were refused or disconnected, or waited in vain. */
  readonly failed: number;
  /** How often each failure occurred, in words: what happened, and at which step. */
  readonly failures: Readonly<Record<string, number>>;
  /** From the first to the last device, in seconds. */
  readonly seconds: number;
  /** CPU time of this process since its start, in seconds. */
  readonly cpuSeconds: number;
}

/** Session of a device that keeps one, in seconds. */
export const churnExpirySeconds = 3;
/** Longer than any device stays or waits: none of them pings. */
const keepAliveSeconds = 600;
const payload = Buffer.alloc(200, "v");
/** How long a device waits if nothing else is said: longer than any pause that a broker may make. */
const patienceDefaultMs = 20_000;
/** The answers that a device counts, by packet type. */
const answers: Readonly<Record<number, string>> = { 2: "CONNACK", 4: "PUBACK", 9: "SUBACK", 11: "UNSUBACK" };
const disconnectType = 14;

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
  const keepAlive = [keepAliveSeconds >> 8, keepAliveSeconds & 0xff];
  const head = Buffer.from([0, 4, 77, 81, 84, 84, 5, flags, ...keepAlive, 5, 0x11, 0, 0, 0, expirySeconds]);
  const none = Buffer.from([0]);
  const connect = packetOf(0x10, head, text(clientId), none, text(`will/${topic}`), text("gone"));
  const subscribe = packetOf(0x82, Buffer.from([0, 1, 0]), text(`${topic}/#`), Buffer.from([1]));
  const name = text(`${topic}/x`);
  const set = packetOf(0x33, name, Buffer.from([0, 2, 0]), payload);
  const clear = packetOf(0x33, name, Buffer.from([0, 3, 0]));
  const unsubscribe = packetOf(0xa2, Buffer.from([0, 4, 0]), text(`${topic}/#`));
  return { coming: Buffer.concat([connect, subscribe, set]), going: Buffer.concat([clear, unsubscribe]) };
}

/** The words for what has kept a device from being served; undefined: it was served. */
type Failure = string | undefined;

interface DeviceParts {
  readonly going: Buffer;
  readonly stayMs: number;
  readonly leavesInOrder: boolean;
  readonly ended: (failure: Failure) => void;
}

class Device {
  readonly #parts: DeviceParts;
  #rest: Uint8Array | undefined;
  #isGoing = false;
  /** The answers that have come, in their order. */
  readonly #answers: string[] = [];
  #disconnectReason: number | undefined;

  constructor(parts: DeviceParts) {
    this.#parts = parts;
  }

  receive(socket: Socket<Device>, chunk: Uint8Array): void {
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (at + 2 <= bytes.length) {
      let length = bytes[at + 1]!;
      let body = at + 2;
      if (length >= 128) length = (length & 0x7f) + 128 * (bytes[body++] ?? 0);
      if (body + length > bytes.length) break;
      this.#packet(socket, bytes[at]! >> 4, bytes.subarray(body, body + length));
      at = body + length;
    }
    this.#rest = at < bytes.length ? bytes.slice(at) : undefined;
  }

  closed(): void {
    const reason = this.#disconnectReason;
    this.fail(reason === undefined ? "was closed" : `was disconnected with 0x${reason.toString(16)}`);
  }

  /** Ends the device as not served. */
  fail(how: string): void {
    const stage = this.#isGoing ? "after it had begun to go" : "while it came";
    this.#parts.ended(`${how} ${stage}; answers: ${this.#answers.join(" ") || "none"}`);
  }

  #packet(socket: Socket<Device>, type: number, body: Uint8Array): void {
    if (type === disconnectType) this.#disconnectReason = body[0] ?? 0;
    const name = answers[type];
    if (name === undefined) return;
    const code = reasonOf(name, body);
    if (code >= 0x80) this.fail(`was refused (${name} 0x${code.toString(16)})`);
    else this.#answered(socket, name);
  }

  #answered(socket: Socket<Device>, name: string): void {
    const { going, stayMs, leavesInOrder, ended } = this.#parts;
    this.#answers.push(name);
    if (!this.#isGoing && this.#answers.length === 3) {
      this.#isGoing = true;
      if (stayMs === 0) socket.write(going);
      else setTimeout(() => socket.write(going), Math.random() * stayMs);
    } else if (this.#answers.length === 5) {
      if (leavesInOrder) socket.write(Buffer.from([0xe0, 0]));
      ended(undefined);
      socket.end();
    }
  }
}

/** Returns the reason code of an answer in MQTT 5; success where it has none. */
function reasonOf(name: string, body: Uint8Array): number {
  if (name === "CONNACK") return body[1] ?? 0;
  if (name === "PUBACK") return body[2] ?? 0;
  // Of one filter: the last byte.
  return body[body.length - 1] ?? 0;
}

const handlers = {
  data: (socket: Socket<Device>, bytes: Uint8Array) => socket.data.receive(socket, bytes),
  close: (socket: Socket<Device>) => socket.data.closed(),
  error() {},
};

/** One run of devices, and what has become of them so far. */
class Churn {
  readonly #options: ChurnOptions;
  readonly #run = Math.random().toString(36).slice(2, 8);
  readonly #startedAt = performance.now();
  readonly #failures: Record<string, number> = {};
  #begun = 0;
  #devices = 0;
  #inTime = 0;

  constructor(options: ChurnOptions) {
    this.#options = options;
  }

  /** Plays one device after the other until no more come. */
  async slot(): Promise<void> {
    const { ms = Infinity, devicesMax = Infinity, perSecond = 0 } = this.#options;
    while (this.#elapsed() < ms && this.#begun < devicesMax) {
      if (perSecond > 0 && this.#begun >= (perSecond * this.#elapsed()) / 1000) {
        await Bun.sleep(5);
        continue;
      }
      const failure = await this.#device(this.#begun++);
      if (failure !== undefined) this.#failures[failure] = (this.#failures[failure] ?? 0) + 1;
      else {
        this.#devices++;
        if (this.#elapsed() <= ms) this.#inTime++;
      }
    }
  }

  result(): ChurnResult {
    const { user, system } = process.cpuUsage();
    return {
      devices: this.#devices,
      inTime: this.#inTime,
      failed: Object.values(this.#failures).reduce((sum, count) => sum + count, 0),
      failures: this.#failures,
      seconds: this.#elapsed() / 1000,
      cpuSeconds: (user + system) / 1e6,
    };
  }

  async #device(number: number): Promise<Failure> {
    const { port, stayMs = 0, patienceMs = patienceDefaultMs } = this.#options;
    const clientId = `d${this.#run}-${number}`;
    const topic = `churn/${Math.floor(Math.random() * 1e9)}/${clientId}`;
    const { coming, going } = wordsOf(clientId, topic, number % 2 === 0 ? churnExpirySeconds : 0);
    const { promise, resolve } = Promise.withResolvers<Failure>();
    const device = new Device({ going, stayMs, leavesInOrder: number % 4 < 2, ended: resolve });
    const patience = setTimeout(() => device.fail(`waited for ${patienceMs} ms`), patienceMs + stayMs);
    try {
      const where = { hostname: "127.0.0.1", port };
      const dialled = Bun.connect<Device>({ ...where, data: device, socket: handlers as never });
      const socket = await Promise.race([dialled, promise]);
      if (typeof socket !== "object") return socket;
      socket.write(coming);
      const failure = await promise;
      if (failure !== undefined) socket.terminate();
      return failure;
    } catch (error) {
      return `could not connect: ${(error as { code?: string }).code ?? error}`;
    } finally {
      clearTimeout(patience);
    }
  }

  #elapsed(): number {
    return performance.now() - this.#startedAt;
  }
}

/** Plays devices until the time is over, or so many have come, and the last one has gone. */
export async function churn(options: ChurnOptions): Promise<ChurnResult> {
  const run = new Churn(options);
  await Promise.all(Array.from({ length: options.concurrent }, () => run.slot()));
  return run.result();
}

if (import.meta.main) {
  const [port, concurrent, ms, perSecond, stayMs] = process.argv.slice(2).map(Number) as number[];
  const options = { port: port!, concurrent: concurrent!, ms: ms!, perSecond: perSecond ?? 0, stayMs: stayMs ?? 0 };
  console.log(JSON.stringify(await churn(options)));
}
