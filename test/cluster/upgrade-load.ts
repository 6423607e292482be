/**
 * The clients of a cluster while it is upgraded: publishers of small messages, of large ones, and of mail drops; a
 * subscriber that stays, one that comes and goes, and one that is away all the time.
 */
import { ClientSession } from "../../src/client/client-session.ts";
import type { MqttConnection } from "../../src/client/connection.ts";
import { connect } from "../../src/client/dial.ts";
import type { QoS } from "../../src/mqtt/constants.ts";
import type { BrokerSeat, ClusterProcesses } from "../chaos/cluster-processes.ts";
import { History } from "../chaos/history.ts";
import { unpad } from "../chaos/padding.ts";
import { Publisher, Worker } from "../chaos/workers.ts";
import { eventually } from "../support/broker.ts";
import { executable } from "../support/process.ts";

const largeBytes = 3 * 1024 * 1024;
/**
 * A large message so often, in ms, and so many until the next pause, however long that takes: all of them together must
 * be affordable with the bank's default capital, since one client is away all the time.
 */
const largeMs = 4000;
const largeMax = 40;
const dropMs = 50;
/** The time to live of messages in the mail drop, in s: it must not end by chance while the test goes on. */
const dropExpiry = 3600;
const subscriberNames = ["home", "visitor", "away"] as const;

export const mailDrop = "upgrade/drop/#";
/** Everything must come within so long, in ms, on a machine whose cores are shared with a dozen busy processes. */
export const patienceMs = 120_000;
/** How often it is looked whether all is settled, in ms. */
const settleLookMs = 100;
const patiently = { host: "127.0.0.1", connectTimeout: patienceMs / 1000 } as const;
/** Another reader of a mail drop comes to a broker of format 1 when nothing has come for so long. */
const silenceMaxMs = 10_000;

/** A client whose session ends with its connection: what it has missed of what was acknowledged since it came. */
export interface Guest {
  missed(): string[];
  leave(): void;
}

export class UpgradeLoad {
  readonly history = new History();
  /** Where nobody is to go now: a broker that is about to end. */
  avoided: BrokerSeat | undefined;
  readonly #publishers: readonly Publisher[];
  readonly #large: Publisher;
  readonly #dropper: Publisher;
  readonly #workers: readonly Worker[];
  #isBusy = false;
  #loading: Promise<void> = Promise.resolve();

  constructor(cluster: ClusterProcesses) {
    const { history } = this;
    const where = (): number => {
      const seats = cluster.seats.filter((seat) => seat !== this.avoided);
      return seats[Math.floor(Math.random() * seats.length)]!.port;
    };
    const common = { prefix: "upgrade", history, where };
    this.#publishers = [1, 2, 1, 2].map((qos, at) => new Publisher(`p${at}`, { ...common, qos: qos as QoS }));
    this.#large = new Publisher("large", { ...common, qos: 1, bytes: largeBytes });
    this.#dropper = new Publisher("dropper", { ...common, prefix: "upgrade/drop", qos: 1, expiry: dropExpiry });
    const session = (): ClientSession => new ClientSession();
    const subscribers = subscriberNames.map((name) => new Worker(name, { session: session(), history, where }));
    this.#workers = [...this.#allPublishers, ...subscribers];
  }

  get #allPublishers(): readonly Publisher[] {
    return [...this.#publishers, this.#large, this.#dropper];
  }

  async begin(): Promise<void> {
    for (const worker of this.#workers) {
      const isUp = async (): Promise<boolean> => {
        await worker.comeBack();
        return worker.up;
      };
      await eventually(isUp, `${worker.name} connects`, patienceMs);
    }
    for (const { client } of this.#workers.slice(-subscriberNames.length))
      await client!.subscribe(["upgrade/#"], { qos: 2 });
    this.goOn();
  }

  goOn(): void {
    this.#isBusy = true;
    this.#loading = this.#loop();
  }

  async pause(): Promise<void> {
    this.#isBusy = false;
    await this.#loading;
  }

  /** Keeps everybody busy; the visitor comes and goes, and who is away stays so until the pause. */
  async #loop(): Promise<void> {
    const [visitor, away] = this.#workers.slice(-2) as [Worker, Worker];
    let isVisiting = true;
    let [movesAt, largeAt, dropAt, largeCount] = [0, 0, 0, 0];
    away.client!.disconnect();
    while (this.#isBusy) {
      for (const worker of this.#workers)
        if (!worker.up && worker !== away && (isVisiting || worker !== visitor)) void worker.comeBack();
      const now = performance.now();
      for (const publisher of this.#publishers) publisher.pump(1);
      if (now > largeAt && largeCount < largeMax && this.#large.isSettled) {
        largeAt = now + largeMs;
        largeCount++;
        this.#large.pump(1);
      }
      if (now > dropAt) {
        dropAt = now + dropMs;
        this.#dropper.pump(1);
      }
      if (now > movesAt) {
        movesAt = now + 300 + Math.random() * 500;
        isVisiting = !isVisiting;
        if (!isVisiting && visitor.up) visitor.client!.disconnect();
      }
      await Bun.sleep(25);
    }
  }

  /** QoS 0 where nothing may be lost but by a crash. */
  async guest(seat: BrokerSeat, qos: QoS): Promise<Guest> {
    const heard = new Set<string>();
    const onMessage = ({ payload }: { payload: Uint8Array }): void => void heard.add(unpad(payload));
    const client = await connect({ ...patiently, port: seat.port, keepAlive: 0, onMessage });
    await client.subscribe(["upgrade/#"], { qos });
    const from = this.history.sent.length;
    return {
      missed: () => {
        const sent = this.history.sent.slice(from).map(History.payload);
        return sent.filter((words) => this.history.isAcknowledged(words) && !heard.has(words));
      },
      leave: () => client.disconnect(),
    };
  }

  /**
   * Checks that a new subscriber to the mail drop is handed all that lies there, in its order, wherever it connects: by
   * a broker of this version in one connection. On a busy machine one of format 1 was seen to hand out 256 of 1,980
   * messages and no more, and its code stays as it is: there another reader comes when nothing has come for a while.
   * The ones before stay, for without any reader such a broker forgets what it has read of the mail drop, and begins
   * anew.
   */
  async mailDropIsWhole(seat: BrokerSeat): Promise<void> {
    const lying = this.history.sent
      .filter(({ publisher }) => publisher === this.#dropper.name)
      .map(History.payload)
      .filter((words) => this.history.isAcknowledged(words));
    const readings = [await readDrop(seat)];
    const missingAt = ({ heard }: Reading): string[] => lying.filter((words) => !heard.has(words));
    const whole = (): Reading | undefined => readings.find((reading) => missingAt(reading).length === 0);
    const isWhole = async (): Promise<boolean> => {
      if (whole() !== undefined) return true;
      const heardAt = Math.max(...readings.map((reading) => reading.heardAt()));
      if (seat.program !== executable && performance.now() > heardAt + silenceMaxMs)
        readings.push(await readDrop(seat));
      return false;
    };
    await eventually(isWhole, `broker ${seat.id} hands out the mail drop`, patienceMs).catch((error) => {
      const was = readings.map(({ heard, client }) => `${heard.size} came, ${client.whyClosed ?? "and it is open"}`);
      const missing = missingAt(readings.at(-1)!);
      const some = missing.slice(0, 5).join("; ");
      throw new Error(`${error.message}: ${missing.length} of ${lying.length} missing, ${some}; ${was.join("; ")}`);
    });
    const { heard } = whole()!;
    // What a publisher sends again after a lost connection lies there twice.
    const numbers = [...heard].map((words) => Number(words.split(" ")[1]));
    const fallen = numbers.findIndex((number, at) => at > 0 && number < numbers[at - 1]!);
    for (const { client } of readings) client.disconnect();
    if (fallen !== -1) throw new Error(`broker ${seat.id}: mail drop out of order: ${numbers.slice(0, fallen + 1)}`);
  }

  /**
   * Waits until everybody is there and has everything, and judges it. A long backlog takes its time: as long as it
   * becomes shorter nobody is forgotten.
   */
  async settle(): Promise<string[]> {
    let fewest = Infinity;
    let betterAt = performance.now();
    for (;;) {
      for (const worker of this.#workers) if (!worker.up) void worker.comeBack();
      const wrong = this.#wrong();
      const isHere = this.#workers.every(({ up }) => up) && this.#allPublishers.every((one) => one.isSettled);
      if (isHere && wrong.length === 0) return wrong;
      if (wrong.length < fewest) betterAt = performance.now();
      fewest = Math.min(fewest, wrong.length);
      if (performance.now() > betterAt + patienceMs) throw new Error(`never settled: ${this.#describe(wrong)}`);
      await Bun.sleep(settleLookMs);
    }
  }

  #describe(wrong: readonly string[]): string {
    const states = this.#workers.map(
      ({ name, up, session }) => `${name}:${up ? "up" : "down"}:${session.outgoing.size}`,
    );
    return `${states.join(" ")}; ${wrong.length} wrong: ${wrong.slice(0, 10).join("; ")}`;
  }

  #wrong(): string[] {
    return subscriberNames.flatMap((name) => this.history.judge(name));
  }

  /** In words. */
  get figures(): string {
    const count = (publisher: Publisher): number =>
      this.history.sent.filter((sent) => sent.publisher === publisher.name).length;
    const { sent, acknowledgedCount } = this.history;
    return `${sent.length} sent, ${count(this.#large)} of them of ${largeBytes} bytes, ${count(this.#dropper)} to a mail drop; ${acknowledgedCount} acknowledged`;
  }
}

/** A client that has subscribed to the mail drop, and what has come. */
interface Reading {
  readonly client: MqttConnection;
  /** In the order in which they came first. */
  readonly heard: ReadonlySet<string>;
  /** Returns the time at which something came last, or it subscribed, by `performance.now()`. */
  heardAt(): number;
}

async function readDrop({ port }: BrokerSeat): Promise<Reading> {
  const heard = new Set<string>();
  let heardAt = performance.now();
  const onMessage = ({ payload }: { payload: Uint8Array }): void => {
    heard.add(unpad(payload));
    heardAt = performance.now();
  };
  const client = await connect({ ...patiently, port, onMessage });
  await client.subscribe([mailDrop], { qos: 1 });
  heardAt = Math.max(heardAt, performance.now());
  return { client, heard, heardAt: () => heardAt };
}
