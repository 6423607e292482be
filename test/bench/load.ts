/**
 * The load generator: a process of its own that speaks MQTT 3.1.1 with packets made in advance, so that it
 * costs less than any broker it measures. Runs one scenario, given as JSON, and prints its result as JSON.
 * Every message that was sent is accounted for.
 */
import type { Socket } from "bun";
import { cpuSeconds } from "./process.ts";

export interface Scenario {
  readonly port: number;
  /** Where subscribers connect, in turn; the publishers' port unless set. */
  readonly subscriberPorts?: readonly number[];
  /** Subscribers have sessions that outlive their connections. */
  readonly keepSessions?: boolean;
  readonly brokerPids: readonly number[];
  readonly tls?: boolean;
  readonly login?: { readonly username: string; readonly password: string };
  readonly publishers: number;
  readonly subscribers: number;
  /** one: all share a topic. pairs: publisher i and subscriber i share one. few: publishers take turns with them. */
  readonly topics: "one" | "pairs" | "few";
  readonly qos: 0 | 1 | 2;
  readonly payloadBytes: number;
  readonly seconds: number;
  /** Messages per second in all; 0: as fast as it goes. */
  readonly rate: number;
  /** Unacknowledged publishes of one publisher at QoS 1 and 2, where they go as fast as they can; 100 unless set. */
  readonly window?: number;
  /** Seconds at that rate before anything is counted; 3 unless set. */
  readonly warmUpSeconds?: number;
}

export interface Result {
  /** Deliveries per second. */
  readonly perSecond: number;
  readonly sent: number;
  readonly expected: number;
  readonly received: number;
  readonly lost: number;
  /** The processor time of all brokers together, in cores. */
  readonly brokerCpu: number;
  readonly loadCpu: number;
  /** Deliveries for each second of the brokers' processor time. */
  readonly perCpuSecond: number;
  /** Milliseconds; only at a fixed rate. */
  readonly p50: number;
  readonly p99: number;
}

const defaultWindow = 100;
/** QoS 0 packets are written in pieces of about this size. */
const pieceBytes = 64 * 1024;
const piecesPerTurn = 4;
/** Deliveries that may be on their way: what a slow broker's buffers hold must be waited for in the end. */
const aheadMax = 1_000_000;
/** The run is over when nothing has come for so long. */
const quietMs = 1500;
const defaultWarmUpSeconds = 3;

const scenario = JSON.parse(process.argv[2]!) as Scenario;
const stamped = scenario.rate > 0;
/** Deliveries that one message makes. */
const perMessage = scenario.topics === "one" ? scenario.subscribers : 1;

function connectPacket(id: string, keepSession: boolean): Uint8Array {
  const name = Buffer.from(id);
  const { username, password } = scenario.login ?? {};
  const login = [username, password].flatMap((text) =>
    text === undefined ? [] : [0, text.length, ...Buffer.from(text)],
  );
  const flags = (keepSession ? 0 : 2) | (login.length > 0 ? 0xc0 : 0);
  const head = [0x10, 12 + name.length + login.length, 0, 4, 77, 81, 84, 84, 4, flags, 0, 0, 0, name.length];
  return Buffer.concat([Buffer.from(head), name, Buffer.from(login)]);
}

function subscribePacket(topic: string, qos: number): Uint8Array {
  const name = Buffer.from(topic);
  return Buffer.concat([Buffer.from([0x82, 5 + name.length, 0, 1, 0, name.length]), name, Buffer.from([qos])]);
}

function publishPacket(topic: string): { bytes: Buffer; idAt: number; payloadAt: number } {
  const name = Buffer.from(topic);
  const length = 2 + name.length + (scenario.qos > 0 ? 2 : 0) + scenario.payloadBytes;
  const head = [0x30 | (scenario.qos << 1)];
  for (let rest = length; ; ) {
    head.push(rest >= 0x80 ? (rest & 0x7f) | 0x80 : rest);
    rest >>>= 7;
    if (rest === 0) break;
  }
  head.push(0, name.length);
  const idAt = head.length + name.length;
  const bytes = Buffer.concat([Buffer.from(head), name, Buffer.alloc(length - 2 - name.length, 0x78)]);
  return { bytes, idAt, payloadAt: idAt + (scenario.qos > 0 ? 2 : 0) };
}

const counts = { sent: 0, received: 0, firstAt: 0, lastAt: 0 };
const latencies: number[] = [];
let stopped = false;

/** A socket with what the kernel has not taken. */
class Wire {
  socket!: Socket<Wire>;
  ready = Promise.withResolvers<void>();
  #rest: Uint8Array | undefined;
  receive: (bytes: Uint8Array) => void = () => {};
  writable: () => void = () => {};

  /** False if the kernel is full. */
  write(bytes: Uint8Array): boolean {
    if (this.#rest !== undefined) {
      this.#rest = Buffer.concat([this.#rest, bytes]);
      return false;
    }
    const taken = Math.max(0, this.socket.write(bytes));
    if (taken === bytes.length) return true;
    this.#rest = bytes.slice(taken);
    return false;
  }

  drain(): void {
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest === undefined || this.write(rest)) this.writable();
  }
}

async function dial(id: string, port: number, keepSession = false): Promise<Wire> {
  const wire = new Wire();
  wire.receive = () => wire.ready.resolve();
  wire.socket = await Bun.connect<Wire>({
    hostname: "127.0.0.1",
    port,
    ...(scenario.tls ? { tls: { rejectUnauthorized: false } } : {}),
    data: wire,
    socket: {
      data: (socket, bytes) => socket.data.receive(bytes),
      drain: (socket) => socket.data.drain(),
      close: () => {
        if (stopped) return;
        console.error("the broker closed a connection of the load generator");
        process.exit(1);
      },
    },
  });
  wire.write(connectPacket(id, keepSession));
  await wire.ready.promise;
  return wire;
}

function received(count: number): void {
  if (counts.received === 0) counts.firstAt = performance.now();
  counts.received += count;
  counts.lastAt = performance.now();
}

async function startSubscriber(index: number, topic: string): Promise<void> {
  const ports = scenario.subscriberPorts ?? [scenario.port];
  const wire = await dial(`bench-sub-${index}`, ports[index % ports.length]!, scenario.keepSessions);
  const subscribed = Promise.withResolvers<void>();
  wire.receive = () => subscribed.resolve();
  wire.write(subscribePacket(topic, scenario.qos));
  await subscribed.promise;
  const packet = publishPacket(topic);
  const reader = new FixedReader(packet.bytes.length);
  wire.receive = (bytes) => {
    if (scenario.qos === 0 && !stamped) received(reader.count(bytes));
    else reader.each(bytes, (at, from) => take(wire, packet, { at, from }), ackOf(wire));
  };
}

/** PUBREL comes between publishes at QoS 2 and is answered with PUBCOMP. */
function ackOf(wire: Wire): (bytes: Uint8Array, at: number) => void {
  return (bytes, at) => void acksOf(wire).push(0x70, 2, bytes[at + 2]!, bytes[at + 3]!);
}

/** Acks are gathered, and written once per chunk. */
let acks = new Map<Wire, number[]>();

function take(wire: Wire, packet: { idAt: number; payloadAt: number }, where: { at: number; from: Uint8Array }): void {
  received(1);
  const { at, from } = where;
  if (stamped)
    latencies.push(performance.now() - new DataView(from.buffer, from.byteOffset + at).getFloat64(packet.payloadAt));
  if (scenario.qos === 0) return;
  acksOf(wire).push(scenario.qos === 1 ? 0x40 : 0x50, 2, from[at + packet.idAt]!, from[at + packet.idAt + 1]!);
}

function acksOf(wire: Wire): number[] {
  let list = acks.get(wire);
  if (list === undefined) {
    list = [];
    acks.set(wire, list);
  }
  return list;
}

function flushAcks(): void {
  if (acks.size === 0) return;
  const all = acks;
  acks = new Map();
  for (const [wire, list] of all) wire.write(new Uint8Array(list));
}

/** Cuts a stream of packets of one size, with 4-byte packets between them. */
class FixedReader {
  readonly #size: number;
  #rest: Uint8Array = new Uint8Array(0);
  #bytes = 0;

  constructor(size: number) {
    this.#size = size;
  }

  /** Only counts: whole packets that are complete with these bytes. */
  count(bytes: Uint8Array): number {
    const before = Math.floor(this.#bytes / this.#size);
    this.#bytes += bytes.length;
    return Math.floor(this.#bytes / this.#size) - before;
  }

  each(
    bytes: Uint8Array,
    publish: (at: number, from: Uint8Array) => void,
    other: (bytes: Uint8Array, at: number) => void,
  ): void {
    const from = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let at = 0;
    while (at < from.length) {
      const size = from[at]! >> 4 === 3 ? this.#size : 4;
      if (at + size > from.length) break;
      if (size === 4) other(from, at);
      else publish(at, from);
      at += size;
    }
    this.#rest = from.slice(at);
    flushAcks();
  }
}

async function startPublisher(index: number, topic: string): Promise<() => void> {
  const wire = await dial(`bench-pub-${index}`, scenario.port);
  const packet = publishPacket(topic);
  if (stamped) return stampedSender(wire, packet);
  if (scenario.qos > 0) return () => startWindow(wire, packet);
  const perPiece = Math.max(1, Math.floor(pieceBytes / packet.bytes.length));
  const piece = Buffer.concat(Array.from({ length: perPiece }, () => packet.bytes));
  // A few pieces a turn, so that subscribers in this process are read as well.
  const push = (): void => {
    for (let pieces = 0; pieces < piecesPerTurn && counts.sent * perMessage - counts.received < aheadMax; pieces++) {
      if (stopped) return;
      counts.sent += perPiece;
      if (!wire.write(piece)) return;
    }
    // Far enough ahead: look again in a while, without burning the broker's other core.
    if (counts.sent * perMessage - counts.received >= aheadMax) setTimeout(push, 1);
    else setImmediate(push);
  };
  wire.writable = push;
  return push;
}

/** Returns how one message is sent that bears its time; its ack is answered where the standard wants that. */
function stampedSender(wire: Wire, { bytes: packet, idAt, payloadAt }: ReturnType<typeof publishPacket>): () => void {
  let nextId = 0;
  const reader = new AckReader(wire, () => {});
  wire.receive = (chunk) => reader.take(chunk);
  return () => {
    const bytes = Buffer.from(packet);
    if (scenario.qos > 0) {
      nextId = (nextId % 60_000) + 1;
      bytes.writeUInt16BE(nextId, idAt);
    }
    bytes.writeDoubleBE(performance.now(), payloadAt);
    counts.sent++;
    wire.write(bytes);
  };
}

/** Cuts what a publisher is sent, four bytes each; tells how many messages are done, and answers PUBREC. */
class AckReader {
  readonly #wire: Wire;
  readonly #done: (count: number) => void;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(wire: Wire, done: (count: number) => void) {
    this.#wire = wire;
    this.#done = done;
  }

  take(chunk: Uint8Array): void {
    const from = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const whole = from.length - (from.length % 4);
    const releases: number[] = [];
    let done = 0;
    for (let at = 0; at < whole; at += 4) {
      if (from[at] === 0x50) releases.push(0x62, 2, from[at + 2]!, from[at + 3]!);
      else done++;
    }
    this.#rest = from.slice(whole);
    if (releases.length > 0) this.#wire.write(new Uint8Array(releases));
    if (done > 0) this.#done(done);
  }
}

/** Keeps a number of publishes unacknowledged. */
function startWindow(wire: Wire, packet: { bytes: Buffer; idAt: number }): void {
  const { bytes, idAt } = packet;
  let nextId = 0;
  const send = (count: number): void => {
    if (stopped) return;
    const out = Buffer.alloc(count * bytes.length);
    for (let index = 0; index < count; index++) {
      nextId = (nextId % 60_000) + 1;
      bytes.copy(out, index * bytes.length);
      out.writeUInt16BE(nextId, index * bytes.length + idAt);
    }
    counts.sent += count;
    wire.write(out);
  };
  const reader = new AckReader(wire, send);
  wire.receive = (chunk) => reader.take(chunk);
  send(scenario.window ?? defaultWindow);
}

async function run(): Promise<Result> {
  const topicOf = (index: number): string =>
    scenario.topics === "one" ? "bench/topic" : `bench/topic/${index % scenario.subscribers}`;
  for (let index = 0; index < scenario.subscribers; index++) await startSubscriber(index, topicOf(index));
  const starts: (() => void)[] = [];
  for (let index = 0; index < scenario.publishers; index++) starts.push(await startPublisher(index, topicOf(index)));
  if (stamped) await warmUp(starts);
  const brokersCpu = (): number => scenario.brokerPids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const cpuBefore = { broker: brokersCpu(), load: cpuSeconds(process.pid) };
  const startedAt = performance.now();
  if (stamped) await sendAtRate(starts, scenario.seconds);
  else for (const start of starts) start();
  await Bun.sleep(Math.max(0, scenario.seconds * 1000 - (performance.now() - startedAt)));
  stopped = true;
  const cpuAfter = { broker: brokersCpu(), load: cpuSeconds(process.pid) };
  const elapsed = (performance.now() - startedAt) / 1000;
  // What the kernel still holds of the publishers is sent; the run is over when nothing more comes.
  const expected = counts.sent * perMessage;
  while (counts.received < expected && performance.now() - counts.lastAt < quietMs) await Bun.sleep(50);
  latencies.sort((a, b) => a - b);
  const at = (part: number): number =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * part))] ?? 0;
  return {
    perSecond: counts.received / ((counts.lastAt - counts.firstAt) / 1000),
    sent: counts.sent,
    expected,
    received: counts.received,
    lost: expected - counts.received,
    brokerCpu: (cpuAfter.broker - cpuBefore.broker) / elapsed,
    loadCpu: (cpuAfter.load - cpuBefore.load) / elapsed,
    perCpuSecond: counts.received / (cpuAfter.broker - cpuBefore.broker),
    p50: at(0.5),
    p99: at(0.99),
  };
}

/** Brokers whose code is compiled while it runs are slower in their first seconds; none of them counts those. */
async function warmUp(senders: readonly (() => void)[]): Promise<void> {
  await sendAtRate(senders, scenario.warmUpSeconds ?? defaultWarmUpSeconds);
  while (counts.received < counts.sent * perMessage) await Bun.sleep(10);
  counts.sent = counts.received = 0;
  latencies.length = 0;
}

async function sendAtRate(senders: readonly (() => void)[], seconds: number): Promise<void> {
  const startedAt = performance.now();
  const total = scenario.rate * seconds;
  for (let sent = 0; sent < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - startedAt) / 1000) * scenario.rate));
    for (; sent < due; sent++) senders[sent % senders.length]!();
    await Bun.sleep(1);
  }
}

console.log(JSON.stringify(await run()));
process.exit(0);
