/**
 * The load of the long trials: publishers, subscribers and devices that come back whenever they must; and its judges.
 */
import { audit } from "../../src/audit/audit.ts";
import { takeWeighed } from "../../src/audit/snapshot.ts";
import { sweepMs } from "../../src/base/bank-limits.ts";
import type { Random } from "../../src/base/random.ts";
import { ClientSession } from "../../src/client/client-session.ts";
import { PlainStore } from "../../src/zookeeper/plain-store.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { eventually } from "../support/broker.ts";
import type { BrokerProcess } from "./broker-process.ts";
import type { ClusterProcesses } from "./cluster-processes.ts";
import { History } from "./history.ts";
import type { Cut } from "./misfortunes.ts";
import { Device, Watcher } from "./presence.ts";
import { Publisher, Worker } from "./workers.ts";

/** Everything must go on within so long, on a machine that is busy. */
export const healMaxMs = 40_000;
/**
 * How often it is looked whether all is at rest, and how many looks may pass without anything that becomes better: on a
 * machine that has no time for this process the looks, and so the patience, are longer.
 */
const healLookMs = 250;
const healLooksMax = healMaxMs / healLookMs;
const devicesCount = 12;
const subscriberNames = ["home-1", "home-2", "visitor"] as const;

/** Devices, publishers and subscribers, kept busy. */
export class Load {
  readonly history = new History();
  readonly #seats: readonly BrokerProcess[];
  readonly #random: Random;
  readonly #publishers: readonly Publisher[];
  readonly #workers: readonly Worker[];
  readonly #devices: readonly Device[];
  readonly #watcher: Watcher;
  #state: "busy" | "paused" | "ended" = "paused";
  #visitorMovesAt = 0;
  #isVisitorAway = false;

  /** `bytes`: the length of each payload; as short as may be, if it is not given. */
  constructor(cluster: { readonly seats: readonly BrokerProcess[] }, random: Random, bytes = 0) {
    this.#random = random;
    this.#seats = cluster.seats;
    const { history } = this;
    const where = (): number => cluster.seats[Math.floor(random.next() * cluster.seats.length)]!.port;
    this.#publishers = [1, 2, 1, 2].map(
      (qos, at) => new Publisher(`p${at + 1}`, { qos: qos as 1 | 2, prefix: "nemesis", history, where, bytes }),
    );
    const listeners = subscriberNames.map((name) => new Worker(name, { session: new ClientSession(), history, where }));
    this.#workers = [...this.#publishers, ...listeners];
    this.#devices = Array.from({ length: devicesCount }, (_, at) => new Device(`device-${at + 1}`, where));
    this.#watcher = new Watcher(this.#devices, where);
  }

  async begin(): Promise<void> {
    void this.#loop();
    const isUp = (): boolean => this.#workers.every(({ up }) => up);
    await eventually(isUp, "everybody connects", healMaxMs);
    for (const worker of this.#workers.slice(this.#publishers.length))
      await worker.client!.subscribe(["nemesis/#"], { qos: 2 });
    await eventually(() => this.#watcher.isReady, "the watcher subscribes", healMaxMs);
    this.goOn();
  }

  goOn(): void {
    this.#state = "busy";
  }

  pause(): void {
    this.#state = "paused";
    this.#isVisitorAway = false;
  }

  end(): void {
    this.#state = "ended";
  }

  async #loop(): Promise<void> {
    const visitor = this.#workers.at(-1)!;
    while (this.#state !== "ended") {
      for (const worker of this.#workers)
        if (!worker.up && !(worker === visitor && this.#isVisitorAway)) void worker.comeBack();
      if (!this.#watcher.isReady) void this.#watcher.comeBack();
      // Without a watcher nobody hears of the first lives.
      if (this.#watcher.isReady) for (const device of this.#devices) if (!device.isUp) void device.comeBack();
      if (this.#state === "busy") this.#work(visitor);
      await Bun.sleep(8);
    }
  }

  #work(visitor: Worker): void {
    for (const publisher of this.#publishers) publisher.pump(2);
    if (this.#random.next() < 0.01) this.#devices[Math.floor(this.#random.next() * this.#devices.length)]!.vanish();
    if (performance.now() < this.#visitorMovesAt) return;
    this.#visitorMovesAt = performance.now() + 300 + this.#random.next() * 500;
    this.#isVisitorAway = !this.#isVisitorAway;
    if (this.#isVisitorAway && visitor.up) visitor.client!.disconnect();
  }

  get #missingCount(): number {
    return subscriberNames.reduce((sum, name) => sum + this.history.missingCount(name), 0);
  }

  #lost(): string[] {
    // A refusal may be lost with its connection: then its publish comes again, after those that were taken.
    const isLate = this.history.isOrdered && this.misordered().length > 0;
    if (isLate && this.#seats.some((seat) => seat.hasRefused())) this.history.isOrdered = false;
    return subscriberNames.flatMap((name) => this.history.judge(name));
  }

  /** True if everybody has what is theirs, and the watcher knows who is there. */
  isAtRest(): boolean {
    return (
      this.#workers.every(({ up }) => up) &&
      this.#publishers.every(({ isSettled }) => isSettled) &&
      this.#watcher.isRight &&
      this.#missingCount === 0 &&
      this.#lost().length === 0
    );
  }

  /** Waits until it is at rest; false if it is not, and nothing has become better for a long time. */
  async heals(): Promise<boolean> {
    let fewest = Infinity;
    for (let looks = 0; looks < healLooksMax; looks++) {
      if (this.isAtRest()) return true;
      // A long backlog takes its time: as long as it becomes shorter nobody is forgotten.
      if (this.#missingCount < fewest) looks = 0;
      fewest = Math.min(fewest, this.#missingCount);
      await Bun.sleep(healLookMs);
    }
    return false;
  }

  /** Says why it is not at rest. */
  restless(): string[] {
    const states = this.#workers.map(
      ({ name, up, session }) => `${name}:${up ? "up" : "down"}:${session.outgoing.size}`,
    );
    const presence = this.#watcher.isRight ? "presence is right" : this.#watcher.describe();
    const lost = this.#lost();
    const missing = `${lost.length} missing or wrong, as ${lost.slice(0, 3).join(", ")}`;
    return [`not at rest: ${states.join(" ")}; ${presence}; ${missing}`];
  }

  /** First deliveries after later ones, in words. */
  misordered(): string[] {
    return subscriberNames.flatMap((name) => this.history.misordered(name).map((what) => `${name}: ${what}`));
  }

  /** Judges what was received, and what was said of the devices; `cuts`: links that were cut meanwhile. */
  wrong(cuts: readonly Cut[] = []): string[] {
    const late = this.#watcher.takeLate((one, other) =>
      cuts.some((ends) => ends.some(({ port }) => port === one) && ends.some(({ port }) => port === other)),
    );
    return [...this.#lost().slice(0, 10), ...this.#watcher.wrong(), ...late];
  }
}

/** No overdraft, no slip without its message. */
export async function auditOf({ ensemble }: ClusterProcesses): Promise<string[]> {
  const zookeeper = await ZooKeeper.connect(`${ensemble.connect}/chaos`);
  // The tree may change while it is read: what is wrong must be wrong every time.
  let wrong: string[] | undefined;
  for (let look = 0; look < 5 && wrong?.length !== 0; look++) {
    const snapshot = await takeWeighed(new PlainStore(zookeeper), Date.now());
    const found = audit(snapshot!, { graceMs: 2 * sweepMs });
    wrong = wrong?.filter((what) => found.includes(what)) ?? found;
  }
  await zookeeper.close();
  return wrong!;
}

/** How many slips lie in the mailboxes of sessions that have any, in words. */
export async function describeMail({ ensemble }: ClusterProcesses): Promise<string[]> {
  const zookeeper = await ZooKeeper.connect(`${ensemble.connect}/chaos`);
  const found: string[] = [];
  for (const shard of (await zookeeper.children("/sessions")).children) {
    for (const name of (await zookeeper.children(`/sessions/${shard}`)).children) {
      const path = `/sessions/${shard}/${name}`;
      const stat = await zookeeper.exists(`${path}/mail`);
      if (stat === undefined || stat.numChildren === 0) continue;
      const record = Buffer.from((await zookeeper.get(path)).data).toString();
      found.push(`${stat.numChildren} slips of ${name}, whose record is ${record}`);
    }
  }
  await zookeeper.close();
  return found;
}
