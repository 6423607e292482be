/**
 * The clients of a cluster while it is upgraded: publishers of small messages, of large ones, and of mail drops; a
 * subscriber that stays, one that comes and goes, and one that is away all the time.
 */
import { ClientSession } from "../../src/client/client-session.ts";
import { connect } from "../../src/client/dial.ts";
import type { QoS } from "../../src/mqtt/constants.ts";
import type { BrokerSeat, ClusterProcesses } from "../chaos/cluster-processes.ts";
import { History } from "../chaos/history.ts";
import { unpad } from "../chaos/padding.ts";
import { Publisher, Worker } from "../chaos/workers.ts";
import { eventually } from "../support/broker.ts";

const largeBytes = 3 * 1024 * 1024;
/** A large message so often, in ms: all of them together must be affordable with the bank's default capital. */
const largeMs = 4000;
const dropMs = 50;
/** The time to live of messages in the mail drop, in s: it must not end by chance while the test goes on. */
const dropExpiry = 3600;
const subscriberNames = ["home", "visitor", "away"] as const;

export const mailDrop = "upgrade/drop/#";
export const patienceMs = 60_000;

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
    let [movesAt, largeAt, dropAt] = [0, 0, 0];
    away.client!.disconnect();
    while (this.#isBusy) {
      for (const worker of this.#workers)
        if (!worker.up && worker !== away && (isVisiting || worker !== visitor)) void worker.comeBack();
      const now = performance.now();
      for (const publisher of this.#publishers) publisher.pump(1);
      if (now > largeAt && this.#large.isSettled) {
        largeAt = now + largeMs;
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
    const client = await connect({ host: "127.0.0.1", port: seat.port, keepAlive: 0, onMessage });
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
   * Checks that a new subscriber to the mail drop is handed all that lies there, in its order, wherever it connects.
   */
  async mailDropIsWhole(seat: BrokerSeat): Promise<void> {
    const lying = this.history.sent
      .filter(({ publisher }) => publisher === this.#dropper.name)
      .map(History.payload)
      .filter((words) => this.history.isAcknowledged(words));
    const heard: string[] = [];
    const onMessage = ({ payload }: { payload: Uint8Array }): void => void heard.push(unpad(payload));
    const client = await connect({ host: "127.0.0.1", port: seat.port, onMessage });
    await client.subscribe([mailDrop], { qos: 1 });
    const missing = (): string[] => {
      const all = new Set(heard);
      return lying.filter((words) => !all.has(words));
    };
    await eventually(() => missing().length === 0, `broker ${seat.id} hands out the mail drop`, patienceMs).catch(
      (error) => {
        throw new Error(
          `${error.message}: ${missing().length} of ${lying.length} missing, ${missing().slice(0, 5).join("; ")}`,
        );
      },
    );
    // What a publisher sends again after a lost connection lies there twice.
    const numbers = [...new Set(heard)].map((words) => Number(words.split(" ")[1]));
    const fallen = numbers.findIndex((number, at) => at > 0 && number < numbers[at - 1]!);
    client.disconnect();
    if (fallen !== -1) throw new Error(`broker ${seat.id}: mail drop out of order: ${numbers.slice(0, fallen + 1)}`);
  }

  /** Waits until everybody is there and has everything, and judges it. */
  async settle(): Promise<string[]> {
    const isSettled = (): boolean => {
      for (const worker of this.#workers) if (!worker.up) void worker.comeBack();
      return (
        this.#workers.every(({ up }) => up) && this.#allPublishers.every((one) => one.isSettled) && !this.#isWrong()
      );
    };
    await eventually(isSettled, "everything is settled", patienceMs).catch((error) => {
      const states = this.#workers.map(
        ({ name, up, session }) => `${name}:${up ? "up" : "down"}:${session.outgoing.size}`,
      );
      const wrong = this.#wrong();
      throw new Error(`${error.message}; ${states.join(" ")}; ${wrong.length} wrong: ${wrong.slice(0, 10).join("; ")}`);
    });
    return this.#wrong();
  }

  #isWrong(): boolean {
    return this.#wrong().length > 0;
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
