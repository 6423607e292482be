/**
 * A bystander: a client in a process of its own that publishes to itself all the time. Its waits for answers tell what
 * others do to it. Beside it another process does ten milliseconds of work now and then: how much longer that takes is
 * the machine's doing, and not the broker's. Run by itself with a port, this file tells over IPC what it is asked; with
 * "work" it is the one that works.
 */
import { RawClient } from "./raw-client.ts";

/** The bystander's waits since they were last asked for. */
export interface Waits {
  /** In ms. */
  readonly worst: number;
  readonly p99: number;
  /**
   * How many times as long as alone a process takes for its work on this machine, nine times of ten: 1 where nothing
   * else runs.
   */
  readonly stretch: number;
  /** The longest time, in ms, by which the machine was late with that work: it may have held up the broker as long. */
  readonly late: number;
}

export interface Bystander {
  /** Rejects if he was disconnected. */
  waits(): Promise<Waits>;
  stop(): void;
}

/** `topic`: where he publishes; what others subscribe to may match it, and have him wait for the store. */
export async function startBystander(port: number, topic = "bystander"): Promise<Bystander> {
  let answer: (said: Waits) => void = () => {};
  const ready = Promise.withResolvers<void>();
  const child = Bun.spawn([process.execPath, import.meta.path, String(port), topic], {
    stdout: "inherit",
    stderr: "inherit",
    ipc: (said: Waits | "ready") => (said === "ready" ? ready.resolve() : answer(said)),
  });
  await ready.promise;
  return {
    async waits() {
      const { promise, resolve, reject } = Promise.withResolvers<Waits>();
      answer = resolve;
      void child.exited.then(() => reject(new Error("the bystander was disconnected")));
      child.send("waits");
      return promise;
    },
    stop: () => child.kill("SIGTERM"),
  };
}

/** The work that is asked each time, in ms of a processor's time, and how long nothing is asked after it. */
const workMs = 10;
const workPauseMs = 100;

/** Round trips, one after the other with some time before each. */
class Trips {
  readonly #pauseMs: number;
  #done: number[] = [];
  #startedAt = Infinity;
  #longest = 0;

  constructor(pauseMs: number) {
    this.#pauseMs = pauseMs;
  }

  async make(trip: () => Promise<unknown>): Promise<never> {
    for (;;) {
      const pausedAt = performance.now();
      await Bun.sleep(this.#pauseMs);
      this.#startedAt = performance.now();
      await trip();
      const now = performance.now();
      this.#done.push(now - this.#startedAt);
      this.#longest = Math.max(this.#longest, now - pausedAt - this.#pauseMs);
      this.#startedAt = Infinity;
    }
  }

  /** The longest of a trip and what the pause before it lasted too long, in ms, since this was last asked. */
  takeLongest(): number {
    const longest = this.#longest;
    this.#longest = 0;
    return longest;
  }

  /** All that were made, in ms, the shortest first. One that is under way has lasted so long at least. */
  take(): number[] {
    const all = [...this.#done, Math.max(0, performance.now() - this.#startedAt)].sort((a, b) => a - b);
    this.#done = [];
    return all;
  }
}

function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.ceil(sorted.length * part) - 1]!;
}

async function stand(port: number, topic: string): Promise<void> {
  const broker = new Trips(2);
  const machine = new Trips(workPauseMs);
  const work = await startWorker();
  const client = await RawClient.connect(port, { clientId: "bystander" });
  await client.subscribe(topic, { qos: 1 });
  process.on("message", () => {
    const waits = broker.take();
    const stretch = Math.max(1, quantile(machine.take(), 0.9) / workMs);
    const late = Math.max(0, machine.takeLongest() - workMs);
    process.send!({ worst: waits.at(-1)!, p99: quantile(waits, 0.99), stretch, late } satisfies Waits);
  });
  process.send!("ready");
  let messageId = 0;
  await Promise.race([
    machine.make(work),
    broker.make(async () => {
      messageId = (messageId % 65_535) + 1;
      client.publish(topic, "x", { qos: 1, messageId });
      client.send({ cmd: "puback", messageId: (await client.take("publish")).messageId });
      await client.take("puback");
    }),
  ]);
}

/** Starts a process that works, and returns what has it do so. */
async function startWorker(): Promise<() => Promise<void>> {
  let done: () => void = () => {};
  const ready = new Promise<void>((resolve) => {
    done = resolve;
  });
  const child = Bun.spawn([process.execPath, import.meta.path, "work"], { ipc: () => done() });
  const end = (): void => {
    child.kill("SIGKILL");
    process.exit();
  };
  process.on("SIGTERM", end);
  // The test that has started it was killed.
  process.on("disconnect", end);
  await ready;
  return () =>
    new Promise((resolve) => {
      done = resolve;
      child.send("work");
    });
}

function workWhenAsked(): void {
  process.on("message", () => {
    const startedAt = process.cpuUsage();
    for (let used = process.cpuUsage(startedAt); used.user + used.system < workMs * 1000; )
      used = process.cpuUsage(startedAt);
    process.send!("done");
  });
  process.on("disconnect", () => process.exit());
  process.send!("ready");
}

if (import.meta.main) {
  if (process.argv[2] === "work") workWhenAsked();
  else await stand(Number(process.argv[2]), process.argv[3]!);
}
