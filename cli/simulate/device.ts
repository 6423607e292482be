/** One device of a simulation: it comes, measures, publishes when it is time, and goes; all by the group's plan. */
import type { Clock } from "../../src/base/clock.ts";
import { messageOf, OperatingError } from "../../src/base/errors.ts";
import type { Random } from "../../src/base/random.ts";
import { Timer, type Timers } from "../../src/base/timers.ts";
import { Backoff } from "../../src/client/backoff.ts";
import { ClientSession } from "../../src/client/client-session.ts";
import type { MqttConnection } from "../../src/client/connection.ts";
import type { ConnectionOptions } from "../../src/client/connection-options.ts";
import type { QoS } from "../../src/mqtt/constants.ts";
import { describeReason, Reason } from "../../src/mqtt/reason.ts";
import { isTopicName } from "../../src/mqtt/topic.ts";
import type { Connection } from "../flags/client-flags.ts";
import { connectAny } from "../pubsub/reconnect.ts";
import type { Filling } from "../pubsub/template.ts";
import type { Counts } from "./counts.ts";
import type { DeviceGroup, PublishPlan } from "./scenario.ts";
import { randomOf } from "./seeded-random.ts";
import type { Draw } from "./values.ts";

/** Publishes of one device that are not acknowledged; beyond that it leaves out what it would publish. */
const pendingMax = 100;
/** Bytes that wait for a broker that does not read; beyond that likewise. */
const unsentMax = 1024 * 1024;

export interface DeviceContext {
  readonly connection: Connection;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly seed: number | undefined;
  readonly counts: Counts;
}

/** A publish that comes again and again. */
interface Schedule {
  readonly plan: PublishPlan;
  readonly timer: Timer;
  count: number;
}

export class Device {
  readonly #group: DeviceGroup;
  readonly #number: number;
  readonly #context: DeviceContext;
  readonly #random: Random;
  readonly #draws: ReadonlyMap<string, Draw>;
  readonly #schedules: readonly Schedule[];
  readonly #session = new ClientSession();
  readonly #backoff: Backoff;
  readonly #clientId: string;
  /** Comes, or goes. */
  #turn = new Timer(() => {});
  /** Undefined: it is not connected. */
  #client: MqttConnection | undefined;
  #isOver = false;
  #pending = 0;

  /** `number`: counted from 1 in its group. */
  constructor(group: DeviceGroup, number: number, context: DeviceContext) {
    this.#group = group;
    this.#number = number;
    this.#context = context;
    this.#random = randomOf(context.seed, `${group.name} ${number}`);
    this.#backoff = new Backoff({}, this.#random);
    this.#draws = new Map([...group.values].map(([name, make]) => [name, make()]));
    this.#schedules = group.publish.map((plan): Schedule => {
      const schedule = { plan, timer: new Timer(() => this.#due(schedule)), count: 0 };
      return schedule;
    });
    this.#clientId = group.clientId(this.#filling(1));
  }

  /** Has it come for the first time after so many milliseconds. */
  start(afterMs: number): void {
    this.#in(afterMs, () => void this.#come());
  }

  /** Ends what it does; it stays connected until it is told to leave. */
  stop(): void {
    this.#isOver = true;
    this.#context.timers.cancel(this.#turn);
    this.#rest();
  }

  /** Goes for good, as a device does that is switched off properly. */
  leave(): void {
    const client = this.#client;
    this.#gone();
    client?.disconnect();
  }

  async #come(): Promise<void> {
    const { connection, counts } = this.#context;
    let client: MqttConnection;
    try {
      client = await connectAny(connection, this.#options());
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      counts.failed++;
      counts.firstFailure ??= `${this.#clientId}: ${messageOf(error)}`;
      return this.#in(this.#backoff.next(), () => void this.#come());
    }
    if (this.#isOver) return client.disconnect();
    this.#client = client;
    counts.connected++;
    counts.online++;
    // It may be gone already, and nobody was told: there was no client yet.
    if (client.whyClosed !== undefined) return this.#lost();
    this.#backoff.reset();
    this.#subscribe(client);
    this.#begin();
  }

  /** Begins its schedules, and plans when it goes. */
  #begin(): void {
    const { timers, clock } = this.#context;
    for (const schedule of this.#schedules) {
      const { every, first } = schedule.plan;
      if (every === undefined) this.#publish(schedule);
      else {
        const waitMs = first === undefined ? every(this.#random) * this.#random.next() : first(this.#random);
        timers.set(schedule.timer, clock.now() + waitMs);
      }
    }
    if (this.#group.online !== undefined) this.#in(this.#group.online(this.#random), () => this.#go());
  }

  #options(): Partial<ConnectionOptions> {
    const { username, password, keepAlive, sessionExpiry, will } = this.#group;
    const filling = this.#filling(1);
    return {
      clientId: this.#clientId,
      clean: sessionExpiry === 0,
      ...(sessionExpiry > 0 && { sessionExpiryInterval: sessionExpiry, session: this.#session }),
      ...(username && { username: username(filling) }),
      ...(password && { password: password(filling) }),
      ...(keepAlive !== undefined && { keepAlive }),
      ...(will && {
        will: {
          topic: will.topic(filling),
          payload: will.payload(filling),
          ...{ qos: will.qos, retain: will.retain },
          ...(will.delay !== undefined && { properties: { willDelayInterval: will.delay } }),
        },
      }),
      onMessage: ({ payload }) => {
        this.#context.counts.received++;
        this.#context.counts.bytes += payload.length;
      },
      onClose: () => this.#lost(),
    };
  }

  #subscribe(client: MqttConnection): void {
    const filling = this.#filling(1);
    for (const qos of [0, 1, 2] as const) {
      const filters = this.#group.subscribe.filter((one) => one.qos === qos).map(({ filter }) => filter(filling));
      if (filters.length === 0) continue;
      client.subscribe(filters, { qos: qos as QoS }).then(
        (granted) => {
          for (const [at, code] of granted.entries()) this.#judge(code, `the subscription to ${filters[at]}`);
        },
        // The connection is lost: it subscribes again when there is another one.
        () => {},
      );
    }
  }

  #due(schedule: Schedule): void {
    if (this.#client === undefined) return;
    const { timers, clock } = this.#context;
    this.#publish(schedule);
    if (schedule.count < schedule.plan.limit)
      timers.set(schedule.timer, clock.now() + schedule.plan.every!(this.#random));
  }

  #publish(schedule: Schedule): void {
    const { plan } = schedule;
    const { counts } = this.#context;
    if (schedule.count >= plan.limit) return;
    if (this.#pending >= pendingMax || this.#client!.unsent > unsentMax) {
      counts.skipped++;
      return;
    }
    schedule.count++;
    const filling = this.#filling(schedule.count);
    const [topic, payload] = [plan.topic(filling), plan.payload(filling)];
    const { qos, retain, expiry } = plan;
    const properties = expiry === undefined ? {} : { properties: { messageExpiryInterval: expiry } };
    if (!isTopicName(topic)) return this.#refused(`a value has made ${JSON.stringify(topic)}, which is no topic`);
    const publishing = this.#client!.publish(topic, payload, { qos, retain, ...properties });
    counts.published++;
    counts.bytes += Buffer.byteLength(payload as string);
    counts.pending++;
    this.#pending++;
    const settled = (): void => {
      counts.pending--;
      this.#pending--;
    };
    publishing.then((reason) => {
      settled();
      if (this.#judge(reason, `a message on ${topic}`) && qos > 0) counts.acknowledged++;
    }, settled);
  }

  /** Returns true if the broker has taken it. */
  #judge(reason: number, what: string): boolean {
    if (reason < Reason.unspecifiedError) return true;
    this.#refused(`${what}: ${describeReason(reason)}`);
    return false;
  }

  #refused(why: string): void {
    const { counts } = this.#context;
    counts.refused++;
    counts.firstRefusal ??= `${this.#clientId}: ${why}`;
  }

  /** Leaves, properly or not, and plans to come again. */
  #go(): void {
    const client = this.#client;
    if (client === undefined) return;
    this.#gone();
    if (this.#random.next() < this.#group.drops) {
      this.#context.counts.dropped++;
      client.abort();
    } else client.disconnect();
    this.#in(this.#group.away(this.#random), () => void this.#come());
  }

  /** The connection has ended without its having meant that. */
  #lost(): void {
    if (this.#client === undefined) return;
    this.#gone();
    this.#context.counts.lost++;
    if (!this.#isOver) this.#in(this.#backoff.next(), () => void this.#come());
  }

  #gone(): void {
    if (this.#client !== undefined) this.#context.counts.online--;
    this.#client = undefined;
    this.#rest();
  }

  #rest(): void {
    for (const { timer } of this.#schedules) timer.dueAt = Infinity;
  }

  #in(ms: number, act: () => void): void {
    if (this.#isOver) return;
    const { timers, clock } = this.#context;
    timers.cancel(this.#turn);
    this.#turn = new Timer(act);
    timers.set(this.#turn, clock.now() + ms);
  }

  /** Returns the filling of its message of this number: each value is measured once for it. */
  #filling(count: number): Filling {
    const { clock } = this.#context;
    const measured = new Map<string, string>();
    const named = (name: string): string => {
      if (name === "device") return String(this.#number);
      if (name === "client") return this.#clientId;
      const known = measured.get(name);
      if (known !== undefined) return known;
      const value = String(this.#draws.get(name)!({ random: this.#random, wall: clock.wall() }));
      measured.set(name, value);
      return value;
    };
    return { count, clock, random: this.#random, named };
  }
}
