/**
 * A broker alone, as a process, on a disk that is full, fails, is slow, or forgets what was not synced: nothing that
 * was acknowledged is lost, and it goes on by itself when the disk does.
 */
import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeUtf8 } from "../../src/base/bytes.ts";
import { ClientSession } from "../../src/client/client-session.ts";
import type { MqttConnection } from "../../src/client/connection.ts";
import { connect } from "../../src/client/dial.ts";
import { freePort } from "../bench/brokers.ts";
import { seeded } from "../simulation/world.ts";
import { eventually } from "../support/broker.ts";
import { FaultyDisk, type FaultyDiskOptions } from "../support/faulty-disk.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/process.ts";
import { History } from "./history.ts";
import { Publisher, Worker } from "./workers.ts";

const losses = Number(process.env.MQTTZOO_POWER_LOSSES ?? 14);
const seed = Number(process.env.MQTTZOO_SEED ?? Math.floor(Math.random() * 1e9));

const cleanUp: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const one of cleanUp.splice(0).reverse()) await one();
});

/** A broker that is started again and again on one folder of a faulty disk. */
class Bench {
  readonly folder = mkdtempSync(join(tmpdir(), "mqttzoo-disk-"));
  readonly disk: FaultyDisk;
  readonly stderr = join(this.folder, "stderr");
  readonly data = join(this.folder, "data");
  #broker: BrokerProcess | undefined;
  port = 0;

  constructor(options?: FaultyDiskOptions) {
    this.disk = new FaultyDisk(this.data, options);
    cleanUp.push(async () => {
      await this.kill();
      this.disk.remove();
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  async start(...args: string[]): Promise<void> {
    this.port ||= await freePort();
    const { within } = this.disk;
    const all = ["--bank-capital", "1000000000", "--max-queued", "1000000", ...args];
    this.#broker = await startBrokerProcess(this.data, { port: this.port, args: all, within, stderr: this.stderr });
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    await this.#broker?.kill(signal);
    this.#broker = undefined;
  }

  get said(): string {
    return readFileSync(this.stderr, "utf8");
  }

  /** Whether a client that has no session here is refused, in words, since the disk is full. */
  async isRefused(clientId: string): Promise<boolean> {
    try {
      (await this.connect(clientId)).disconnect();
      return false;
    } catch (error) {
      expect((error as Error).message).toMatch(/disk of the broker's store is full|0x97|quota/i);
      return true;
    }
  }

  connect(clientId: string, options: Partial<Parameters<typeof connect>[0]> = {}): Promise<MqttConnection> {
    const session = { clean: false, sessionExpiryInterval: 0xffff_ffff };
    return connect({ host: "127.0.0.1", port: this.port, clientId, ...session, ...options });
  }
}

const bodyOf = (index: number): string => `${index} ${"x".repeat(8000)}`;
const indexOf = (payload: Uint8Array): number => Number.parseInt(decodeUtf8(payload.subarray(0, 12)), 10);

const quotaExceeded = 0x97;

/** Publishes until it is refused; returns which were acknowledged. */
async function fill(publisher: MqttConnection, from: number): Promise<number[]> {
  const acknowledged: number[] = [];
  let isRefused = false;
  for (let index = from; !isRefused; ) {
    const settle = async (one: number): Promise<void> => {
      const reason = await publisher.publish("full/t", bodyOf(one), { qos: 1 });
      if (reason === 0) acknowledged.push(one);
      else {
        expect(reason).toBe(quotaExceeded);
        isRefused = true;
      }
    };
    const batch = Promise.all(Array.from({ length: 50 }, () => settle(index++)));
    expect(await Promise.race([batch.then(() => "settled"), Bun.sleep(60_000)])).toBe("settled");
  }
  return acknowledged;
}

test("a full disk refuses what is new, is emptied by its readers, and takes what is new again", async () => {
  const bench = new Bench();
  bench.disk.set(`room=${48 * 1024 * 1024}`);
  await bench.start();
  const away = await bench.connect("reader");
  await away.subscribe(["full/#"], { qos: 1 });
  away.disconnect();
  for (const round of [1, 2]) {
    const acknowledged: number[] = [];
    // What has been read comes free little by little. What is left is for whoever comes for what is stored.
    const isFilled = async (): Promise<boolean> => {
      const from = round * 100_000 + acknowledged.length * 2;
      acknowledged.push(...(await fill(await bench.connect("publisher"), from)));
      return acknowledged.length > 1000 && (await bench.isRefused(`newcomer-${round}-${acknowledged.length}`));
    };
    await eventually(isFilled, "the disk is full, and newcomers are refused", 60_000);
    console.log(`round ${round}: ${acknowledged.length} messages of 8 KB until the disk of 48 MB was full`);
    expect(bench.said).toContain("the disk of the store is nearly full");
    // The second time it ends in between, with the disk full, and dies.
    for (const signal of round === 2 ? (["SIGTERM", "SIGKILL"] as const) : []) {
      await bench.kill(signal);
      await bench.start();
    }
    const received = new Set<number>();
    const reader = await bench.connect("reader", { onMessage: ({ payload }) => void received.add(indexOf(payload)) });
    await eventually(
      () => acknowledged.every((one) => received.has(one)),
      "all that was acknowledged is there",
      60_000,
    );
    reader.disconnect();
    const publisher = await bench.connect("publisher");
    const takes = async (): Promise<boolean> => (await publisher.publish("full/t", bodyOf(0), { qos: 1 })) === 0;
    await eventually(takes, "what is new is taken again", 60_000);
    if (round === 1) expect(bench.said).toContain("the disk of the store has room again");
  }
}, 240_000);

test("a disk that others fill is emptied by the readers all the same", async () => {
  const bench = new Bench();
  bench.disk.set(`room=${128 * 1024 * 1024}`);
  await bench.start();
  const away = await bench.connect("reader");
  await away.subscribe(["full/#"], { qos: 1 });
  away.disconnect();
  let publisher = await bench.connect("publisher");
  const count = 1000;
  const store = (index: number): Promise<number> => publisher.publish("full/t", bodyOf(index), { qos: 1 });
  await Promise.all(Array.from({ length: count }, (_, index) => store(index)));
  // After an end in order there is no log yet whose place could be used again.
  await bench.kill("SIGTERM");
  await bench.start();
  publisher = await bench.connect("publisher");
  const reserve = (): number => statSync(join(bench.data, "tree.reserve"), { throwIfNoEntry: false })?.size ?? 0;
  await eventually(() => reserve() >= 4 * 1024 * 1024, "there is a reserve", 60_000);
  // Not even the log's own place is left.
  const names = readdirSync(bench.data).filter((name) => name !== "tree.db-wal");
  const files = names.map((name) => statSync(join(bench.data, name)).size);
  bench.disk.set(`room=${files.reduce((sum, size) => sum + size, 0)}`);

  const received = new Set<number>();
  const reader = await bench.connect("reader", { onMessage: ({ payload }) => void received.add(indexOf(payload)) });
  await eventually(() => received.size === count, "all that was acknowledged is there", 60_000);
  expect(await store(count)).toBe(quotaExceeded);
  reader.disconnect();
  bench.disk.set("");
  await eventually(async () => (await store(count)) === 0, "what is new is taken again", 60_000);
}, 120_000);

test("a folder that is moved away is told of: nothing is acknowledged until it is back, and nothing is lost", async () => {
  const bench = new Bench();
  await bench.start();
  const away = await bench.connect("reader");
  await away.subscribe(["moved/#"], { qos: 1 });
  away.disconnect();
  const publisher = await bench.connect("publisher");
  const store = (words: string): Promise<number> => publisher.publish("moved/t", words, { qos: 1 });
  expect(await store("before")).toBe(0);
  renameSync(bench.data, `${bench.data}-away`);
  let isAcknowledged = false;
  const meanwhile = store("meanwhile").finally(() => {
    isAcknowledged = true;
  });
  await eventually(() => bench.said.includes("the file of the store is gone from its folder"), "it is told", 60_000);
  expect(isAcknowledged).toBe(false);
  renameSync(`${bench.data}-away`, bench.data);
  expect(await meanwhile).toBe(0);
  await bench.kill();
  await bench.start();
  const received: string[] = [];
  await bench.connect("reader", { onMessage: ({ payload }) => void received.push(decodeUtf8(payload)) });
  await eventually(() => received.length === 2, "both are there");
  expect(received).toEqual(["before", "meanwhile"]);
}, 120_000);

/** Publishers and one subscriber to all of them, who come back with their sessions whenever the broker does. */
class Crowd {
  readonly history = new History();
  readonly home: Worker;
  readonly visitor: Worker;
  readonly publishers: readonly Publisher[];

  constructor(where: () => number) {
    const { history } = this;
    this.publishers = ([1, 2, 1] as const).map(
      (qos, index) => new Publisher(`p${index}`, { qos, prefix: "disk", history, where }),
    );
    this.home = new Worker("home", { session: new ClientSession(), history, where });
    this.visitor = new Worker("visitor", { session: new ClientSession(), history, where });
  }

  async comeBack(): Promise<void> {
    await Promise.all([...this.publishers, this.home, this.visitor].map((worker) => worker.comeBack()));
  }

  async subscribe(): Promise<void> {
    await this.comeBack();
    for (const worker of [this.home, this.visitor]) await worker.client!.subscribe(["disk/#"], { qos: 2 });
    this.visitor.client!.disconnect();
  }

  /** `visitor` stays away, so that much is stored. At least so long, and until so many more are acknowledged. */
  async publishFor(ms: number, acknowledged = 0): Promise<void> {
    const endAt = performance.now() + ms;
    const enough = this.history.acknowledgedCount + acknowledged;
    while (performance.now() < endAt || this.history.acknowledgedCount < enough) {
      for (const publisher of this.publishers) publisher.pump();
      await Bun.sleep(1);
    }
  }

  async gone(): Promise<void> {
    await eventually(() => [...this.publishers, this.home].every(({ up }) => !up), "clients notice the kill");
  }

  /** Waits until all is settled and received, and judges it. */
  async judge(): Promise<void> {
    await this.comeBack();
    await eventually(() => this.publishers.every(({ isSettled }) => isSettled), "all publishes are settled", 60_000);
    const all = (): boolean =>
      [this.home, this.visitor].every(({ name }) => {
        const received = new Set(this.history.receivedBy(name));
        return this.history.sent.every((sent) => received.has(History.payload(sent)));
      });
    // Whatever is not there by then is lost; the judge says what.
    await eventually(all, "everything is received", 60_000).catch(() => {});
    expect(this.history.judge("home")).toEqual([]);
    expect(this.history.judge("visitor")).toEqual([]);
  }
}

test(`${losses} losses of power lose nothing that was acknowledged, seed ${seed}`, async () => {
  console.log(`MQTTZOO_SEED=${seed}`);
  const random = seeded(seed);
  const bench = new Bench({ remembers: true });
  await bench.start();
  const crowd = new Crowd(() => bench.port);
  await crowd.subscribe();
  for (let loss = 1; loss <= losses; loss++) {
    await crowd.comeBack();
    await crowd.publishFor(100 + 400 * random.next(), 15);
    await bench.kill();
    await crowd.gone();
    // Everything that was not synced is gone, or some of it has come to disk.
    const share = loss % 2 === 0 ? random.next() : 0;
    bench.disk.losePower(() => random.next() < share);
    await bench.start();
  }
  await crowd.judge();
  console.log(`${losses} losses, ${crowd.history.sent.length} sent, ${crowd.history.acknowledgedCount} acknowledged`);
  expect(crowd.history.acknowledgedCount).toBeGreaterThan(losses * 10);
}, 240_000);

/** How often the broker has said that its disk fails. */
function told(bench: Bench): number {
  return bench.said.match(/the store cannot write.*I\/O error/gi)?.length ?? 0;
}

/** Returns true if the broker has said of each trouble that it is over. */
function isOver(bench: Bench): boolean {
  return bench.said.match(/the store works again/g)?.length === bench.said.match(/the store cannot write/g)?.length;
}

test.each(["eio=sync", "eio=write", "sync-ms=150"])(
  "a disk with %s, and then without, loses nothing",
  async (trouble) => {
    const bench = new Bench();
    await bench.start();
    const crowd = new Crowd(() => bench.port);
    await crowd.subscribe();
    for (let turn = 0; turn < 3; turn++) {
      await crowd.comeBack();
      await crowd.publishFor(200);
      let before = crowd.history.acknowledgedCount;
      const toldBefore = told(bench);
      bench.disk.set(trouble);
      const publishing = crowd.publishFor(2000);
      if (trouble.startsWith("eio")) {
        await eventually(() => told(bench) > toldBefore, "the trouble is told", 60_000);
        before = crowd.history.acknowledgedCount;
      }
      await publishing;
      // What was under way when the disk failed may have been settled; nothing later is.
      if (trouble.startsWith("eio")) expect(crowd.history.acknowledgedCount - before).toBeLessThan(100);
      else expect(crowd.history.acknowledgedCount).toBeGreaterThan(before);
      // The last time it dies while the disk fails.
      if (turn === 2) {
        await bench.kill();
        await crowd.gone();
      }
      bench.disk.set("");
      if (turn === 2) await bench.start();
      // Nothing new would be told of a trouble that is not over when the next one begins.
      else await eventually(() => isOver(bench), "the store works again", 60_000);
    }
    await crowd.judge();
  },
  120_000,
);
