/** The crew that carries a load: this process, or several that it starts. Both are told the same, and tell the same. */
import { fineClock } from "../../src/base/clock.ts";
import { OperatingError } from "../../src/base/errors.ts";
import { ClientSession } from "../../src/client/client-session.ts";
import type { MqttConnection } from "../../src/client/connection.ts";
import type { ConnectionOptions } from "../../src/client/connection-options.ts";
import { connect, type Place } from "../../src/client/dial.ts";
import { clientIdOf, fillUsername, type Plan, type Share } from "../../src/load/plan.ts";
import { type Counts, type DialLoad, type InFlight, LoadWorker, type Outcome } from "../../src/load/worker.ts";

import { withUser } from "../flags/auth-flags.ts";
import { dialSn } from "./sn-dial.ts";

/** The order for one process: its share of the load. */
export interface Task {
  readonly plan: Plan;
  readonly share: Share;
  readonly places: readonly Place[];
  readonly tls: ConnectionOptions["tls"] | null;
  /** True: over MQTT-SN. */
  readonly isSn: boolean;
  readonly authMethod?: string;
}

export interface Standing {
  readonly counts: Counts;
  readonly isDone: boolean;
}

export interface Crew {
  /** Resolves when all its clients are connected, and have subscribed. */
  connect(): Promise<unknown>;
  go(): Promise<unknown>;
  stop(): Promise<unknown>;
  standing(): Promise<Standing>;
  outcome(): Promise<Outcome>;
  /** Leaves the broker. */
  end(): Promise<unknown>;
}

/** How often a load with a rate looks what is due. */
const pauseMs = 1;

export class OwnCrew implements Crew {
  readonly #worker: LoadWorker;
  #isEnded = false;

  constructor(task: Task) {
    const { plan, share, places, isSn } = task;
    const dial = isSn ? dialSn(plan, places) : dialMqtt(task);
    this.#worker = new LoadWorker(plan, share, { dial, clock: fineClock });
  }

  connect(): Promise<void> {
    return this.#worker.connect((ms) => Bun.sleep(ms));
  }

  go(): Promise<void> {
    this.#worker.go();
    void this.#work();
    return Promise.resolve();
  }

  stop(): Promise<void> {
    this.#worker.stop();
    return Promise.resolve();
  }

  standing(): Promise<Standing> {
    const { counts, isDone } = this.#worker;
    return Promise.resolve({ counts, isDone });
  }

  outcome(): Promise<Outcome> {
    return Promise.resolve(this.#worker.outcome);
  }

  end(): Promise<void> {
    this.#isEnded = true;
    this.#worker.end();
    return Promise.resolve();
  }

  async #work(): Promise<void> {
    while (!this.#isEnded) {
      if (this.#worker.work()) await new Promise((resolve) => setImmediate(resolve));
      else await this.#untilThereIsWork();
    }
  }

  /** Time has passed, or the broker has made room. */
  #untilThereIsWork(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, pauseMs);
      this.#worker.onRoom = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function dialMqtt({ plan, places, tls, authMethod }: Task): DialLoad {
  const dialOnce: DialLoad = async (kind, index, events) => {
    const session = new ClientSession((inFlight, reason) => events.onSettled(inFlight as InFlight, reason));
    let ready: MqttConnection;
    const connection = await connect({
      ...places[index % places.length]!,
      version: plan.version,
      clientId: clientIdOf(plan, kind, index),
      clean: plan.clean,
      keepAlive: plan.keepAlive,
      ...(plan.sessionExpiry === 0 ? {} : { sessionExpiryInterval: plan.sessionExpiry }),
      session,
      ...(tls ? { tls } : {}),
      ...withUser({}, authMethod === undefined ? {} : { authMethod }, { ...plan, username: fillUsername(plan, index) }),
      onReady: (connection) => {
        ready = connection;
      },
      onPublish: (publish) => events.onPublish(publish, ready),
      onClose: events.onClose,
      onDrained: events.onDrained,
    });
    return { connection, add: (inFlight) => session.add(inFlight) };
  };
  return async (kind, index, events) => {
    for (let left = plan.connectRetries ?? 0; ; left--) {
      try {
        return await dialOnce(kind, index, events);
      } catch (error) {
        if (left <= 0) throw error;
      }
    }
  };
}

type Verb = keyof Crew;

/** A process of its own that carries a share; it is told what to do over its channel to this one. */
export class OtherCrew implements Crew {
  readonly #child: Bun.Subprocess;
  readonly #answers: PromiseWithResolvers<unknown>[] = [];

  constructor(task: Task) {
    this.#child = Bun.spawn([...ownCommand(), workerCommand], {
      stdio: ["ignore", "ignore", "inherit"],
      ipc: ({ answer }: { answer?: unknown }) => this.#answers.shift()?.resolve(answer),
      serialization: "json",
      onExit: () => {
        const error = new OperatingError("EFAILED", "a process of the load has ended before its time");
        for (const { reject } of this.#answers.splice(0)) reject(error);
      },
    });
    void this.#send("begin", task).catch(() => {});
  }

  connect(): Promise<unknown> {
    return this.#send("connect");
  }

  go(): Promise<unknown> {
    return this.#send("go");
  }

  stop(): Promise<unknown> {
    return this.#send("stop");
  }

  standing(): Promise<Standing> {
    return this.#send("standing") as Promise<Standing>;
  }

  outcome(): Promise<Outcome> {
    return this.#send("outcome") as Promise<Outcome>;
  }

  async end(): Promise<void> {
    await this.#send("end");
    this.#child.kill();
    await this.#child.exited;
  }

  #send(verb: Verb | "begin", task?: Task): Promise<unknown> {
    const answer = Promise.withResolvers<unknown>();
    this.#answers.push(answer);
    this.#child.send({ verb, ...(task && { task }) });
    return answer.promise;
  }
}

/** The name of the subcommand for processes that a load starts; nobody else calls it. */
export const workerCommand = "bench-worker";

/** The other end of `OtherCrew`. Answers leave in the order of what was asked. */
export function serveCrew(): void {
  let crew: OwnCrew | undefined;
  let before: Promise<unknown> = Promise.resolve();
  process.on("message", ({ verb, task }: { verb: Verb | "begin"; task?: Task }) => {
    before = before.then(async () => {
      if (verb === "begin") crew = new OwnCrew(task!);
      const answer = verb === "begin" ? undefined : await crew![verb]();
      process.send!({ answer });
    });
  });
  process.on("disconnect", () => process.exit());
}

/** How this program was started: compiled, or from its source. */
function ownCommand(): string[] {
  return import.meta.path.startsWith("/$bunfs/") ? [process.execPath] : [process.execPath, Bun.main];
}
