/**
 * `bun run bench:store`: messages of 256 bytes for sessions that are away, acknowledged when they are committed, and
 * how fast they are fetched back: on the embedded store, on ZooKeeper (one server, three), and mosquitto with
 * persistence. Beside it, what one ZooKeeper server does when each message is committed for itself.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Socket } from "bun";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { startEnsemble } from "../support/zookeeper.ts";
import { readCounts } from "./arguments.ts";
import { freePort, untilListening } from "./brokers.ts";
import { startBenchCluster } from "./cluster-brokers.ts";

const sessions = 10;
const payloadBytes = 256;
const [perSession] = readCounts("usage: bun run bench:store [MESSAGES], for each session, 8000 if not given", [8000]);
/** Unacknowledged publishes of one publisher. */
const window = 1000;
/** Enough for all, whatever times to live are drawn. */
const capital = "50000000";

class Wire {
  socket!: Socket<Wire>;
  receive: (bytes: Uint8Array) => void = () => {};
  #rest: Uint8Array | undefined;

  write(bytes: Uint8Array): void {
    if (this.#rest !== undefined) {
      this.#rest = Buffer.concat([this.#rest, bytes]);
      return;
    }
    const taken = Math.max(0, this.socket.write(bytes));
    if (taken < bytes.length) this.#rest = bytes.slice(taken);
  }

  drain(): void {
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) this.write(rest);
  }

  /** Sends, and waits for the first bytes that come. */
  ask(bytes: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve) => {
      this.receive = resolve;
      this.write(bytes);
    });
  }
}

async function dial(port: number, id: string, keepSession: boolean): Promise<{ wire: Wire; first: Uint8Array }> {
  const wire = new Wire();
  const socket = {
    data: (of: Socket<Wire>, bytes: Uint8Array) => of.data.receive(bytes),
    drain: (of: Socket<Wire>) => of.data.drain(),
    close() {},
  };
  wire.socket = await Bun.connect<Wire>({ hostname: "127.0.0.1", port, data: wire, socket: socket as never });
  const name = Buffer.from(id);
  const head = [0x10, 12 + name.length, 0, 4, 77, 81, 84, 84, 4, keepSession ? 0 : 2, 0, 0, 0, name.length];
  return { wire, first: await wire.ask(Buffer.concat([Buffer.from(head), name])) };
}

const topicOf = (index: number): string => `bench/store/${index}`;

function publishPacket(topic: string): Buffer {
  const name = Buffer.from(topic);
  const length = 2 + name.length + 2 + payloadBytes;
  const head = [0x32, (length & 0x7f) | 0x80, length >> 7, 0, name.length];
  return Buffer.concat([Buffer.from(head), name, Buffer.alloc(2 + payloadBytes, 0x78)]);
}

async function subscribeAndLeave(port: number, index: number): Promise<void> {
  const { wire } = await dial(port, `store-${index}`, true);
  const topic = Buffer.from(topicOf(index));
  await wire.ask(
    Buffer.concat([Buffer.from([0x82, 5 + topic.length, 0, 1, 0, topic.length]), topic, Buffer.from([1])]),
  );
  wire.write(Buffer.from([0xe0, 0]));
  wire.socket.end();
}

async function publishAll(port: number, index: number): Promise<void> {
  const { wire } = await dial(port, `store-pub-${index}`, false);
  const packet = publishPacket(topicOf(index));
  const idAt = packet.length - payloadBytes - 2;
  let sent = 0;
  let acknowledged = 0;
  let ackBytes = 0;
  await new Promise<void>((resolve) => {
    const send = (count: number): void => {
      const out = Buffer.alloc(count * packet.length);
      for (let at = 0; at < count; at++) {
        packet.copy(out, at * packet.length);
        out.writeUInt16BE((sent++ % 60_000) + 1, at * packet.length + idAt);
      }
      wire.write(out);
    };
    wire.receive = (bytes) => {
      ackBytes += bytes.length;
      const now = Math.floor(ackBytes / 4);
      const more = Math.min(now - acknowledged, perSession - sent);
      acknowledged = now;
      if (acknowledged >= perSession) resolve();
      else if (more > 0) send(more);
    };
    send(Math.min(window, perSession));
  });
  wire.socket.terminate();
}

/** Comes back, and acknowledges everything. */
async function fetchAll(port: number, index: number): Promise<void> {
  const size = publishPacket(topicOf(index)).length;
  let left = perSession;
  let rest: Uint8Array = new Uint8Array(0);
  let resolve!: () => void;
  const done = new Promise<void>((fulfil) => {
    resolve = fulfil;
  });
  const { wire, first } = await dial(port, `store-${index}`, true);
  const take = (bytes: Uint8Array): void => {
    const from = Buffer.concat([rest, bytes]);
    const acks: number[] = [];
    let at = 0;
    for (; at + size <= from.length; at += size, left--) {
      const idAt = at + size - payloadBytes - 2;
      acks.push(0x40, 2, from[idAt]!, from[idAt + 1]!);
    }
    rest = from.subarray(at);
    if (acks.length > 0) wire.write(new Uint8Array(acks));
    if (left <= 0) resolve();
  };
  wire.receive = take;
  // CONNACK has four bytes.
  take(first.subarray(4));
  await done;
  wire.socket.terminate();
}

async function measure(name: string, port: number): Promise<number> {
  const all = Array.from({ length: sessions }, (_, index) => index);
  for (const index of all) await subscribeAndLeave(port, index);
  const total = sessions * perSession;
  const storeAt = performance.now();
  await Promise.all(all.map((index) => publishAll(port, index)));
  const stored = total / ((performance.now() - storeAt) / 1000);
  const fetchAt = performance.now();
  await Promise.all(all.map((index) => fetchAll(port, index)));
  const fetched = total / ((performance.now() - fetchAt) / 1000);
  const show = (value: number): string => Math.round(value).toLocaleString("en").padStart(14);
  console.log(`${name.padEnd(30)}${show(stored)} stored/s${show(fetched)} fetched/s`);
  return stored;
}

async function embedded(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-store-"));
  const port = await freePort();
  const command = [
    join(import.meta.dir, "../../dist/mqttzoo"),
    "broker",
    "--host",
    "127.0.0.1",
    "--port",
    String(port),
  ];
  const child = Bun.spawn([...command, "--data", folder, "--bank-capital", capital, "--log-level", "error"], {
    stdout: "ignore",
  });
  await untilListening(port);
  const result = await measure("mqttzoo, embedded", port);
  child.kill("SIGKILL");
  await child.exited;
  rmSync(folder, { recursive: true, force: true });
  return result;
}

async function onZooKeeper(servers: number): Promise<number> {
  const cluster = await startBenchCluster(1, servers, ["--bank-capital", capital]);
  const result = await measure(
    `mqttzoo, ${servers} ZooKeeper server${servers > 1 ? "s" : ""}`,
    cluster.brokers[0]!.port,
  );
  await cluster.stop();
  return result;
}

async function mosquitto(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "mosquitto-store-"));
  const port = await freePort();
  const config = join(folder, "mosquitto.conf");
  const persistence = `persistence true\npersistence_location ${folder}/\nautosave_interval 1\nuser root\n`;
  const limits = "max_inflight_messages 1024\nmax_queued_messages 0\nset_tcp_nodelay true\nlog_type none\n";
  writeFileSync(config, `listener ${port} 127.0.0.1\nallow_anonymous true\n${persistence}${limits}`);
  const child = Bun.spawn(["mosquitto", "-c", config], { stdout: "ignore", stderr: "ignore" });
  await untilListening(port);
  const result = await measure("mosquitto, saving each second", port);
  child.kill("SIGKILL");
  await child.exited;
  rmSync(folder, { recursive: true, force: true });
  return result;
}

/** Messages per second, each in a commit of its own; pipelined, as fast as the server takes them. */
async function ungrouped(): Promise<number> {
  const ensemble = await startEnsemble(1, { properties: ["-XX:TieredStopAtLevel=4", "-Xmx1g"] });
  const zookeeper = await ZooKeeper.connect(ensemble.connect);
  for (const path of ["/t", "/mail"]) await zookeeper.create(path);
  const message = new Uint8Array(payloadBytes + 30);
  const slip = new Uint8Array(60);
  const count = 20_000;
  let rate = 0;
  for (const round of ["warm", "measured"]) {
    const startedAt = performance.now();
    const commits = Array.from({ length: count }, (_, index) =>
      zookeeper.multi([
        { kind: "create", path: `/t/${round}-${index}`, data: message, mode: "persistent" },
        { kind: "create", path: "/mail/", data: slip, mode: "persistentSequential" },
      ]),
    );
    await Promise.all(commits);
    rate = count / ((performance.now() - startedAt) / 1000);
  }
  await zookeeper.close();
  await ensemble.stop();
  console.log(
    `${"one commit a message, 1 server".padEnd(30)}${Math.round(rate).toLocaleString("en").padStart(14)} stored/s`,
  );
  return rate;
}

const alone = await embedded();
const one = await onZooKeeper(1);
const three = await onZooKeeper(3);
const single = await ungrouped();
await mosquitto();
const checks: readonly [string, number, number][] = [
  ["embedded, stored/s", alone, 50_000],
  ["one server, stored/s", one, 20_000],
  ["one server : one commit each", one / single, 5],
  ["three servers, stored/s", three, 8_000],
];
for (const [what, value, target] of checks)
  console.log(
    `${what.padEnd(30)}${value.toFixed(1).padStart(14)}  target ${target}  ${value >= target ? "reached" : "MISSED"}`,
  );
process.exit(0);
