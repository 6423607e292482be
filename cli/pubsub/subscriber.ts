/**
 * A subscriber of the command line's: it prints what comes, connects again when its broker is gone, and lets the broker
 * wait while nobody reads what it prints.
 */
import { systemClock } from "../../src/base/clock.ts";
import { messageOf, OperatingError } from "../../src/base/errors.ts";
import { systemRandom } from "../../src/base/random.ts";
import { Backoff } from "../../src/client/backoff.ts";
import { ClientSession } from "../../src/client/client-session.ts";
import { MqttConnection } from "../../src/client/connection.ts";
import type { Message } from "../../src/client/connection-options.ts";
import { SnConnection } from "../../src/client/sn-connection.ts";
import { describeReason, Reason } from "../../src/mqtt/reason.ts";
import { type Filter, filterMatches } from "../../src/mqtt/topic.ts";
import { type Connection, type ConnectionFlags, filterOf, timeoutExitCode } from "../flags/client-flags.ts";
import { complain, tell } from "../output/print.ts";
import { OutputQueue } from "../output/standard-output.ts";
import { connectAgain, connectAny, connectAnySn, untilConnected } from "./reconnect.ts";
import { respond } from "./requests.ts";

/** The flags of `sub` that say what is subscribed to, what is printed, and when it ends. */
export interface SubscriberFlags extends ConnectionFlags {
  readonly filterOut?: readonly string[];
  readonly unsubscribe?: readonly string[];
  readonly count?: number;
  readonly wait?: number;
  /** `-E`. */
  readonly exitAfterSuback?: boolean;
  /** `-R`. */
  readonly skipRetained?: boolean;
  readonly retainedOnly?: boolean;
  readonly removeRetained?: boolean;
  readonly retainAsPublished?: boolean;
  readonly randomFilter?: number;
  readonly respond?: string;
  readonly sleep?: number;
}

/** Makes what is printed of a message. */
export interface Printer {
  /** Undefined: nothing. Throws `OperatingError` (EOUTPUT) if it could not be saved: then it is not acknowledged. */
  bytesOf(message: Message, now: Date): Uint8Array | undefined;
}

/** A connection, over MQTT or MQTT-SN. */
type Line = MqttConnection | SnConnection;

/** Bytes of output that may wait for their reader before the broker is not read any more. */
const unwrittenMax = 65_536;
/** A reader that takes nothing for so long is not waited for when it is time to end. */
const readerStallMs = 10_000;

export class Subscriber {
  readonly #flags: SubscriberFlags;
  readonly #connection: Connection;
  readonly #topics: readonly string[];
  readonly #printer: Printer;
  readonly #filterOut: readonly Filter[];
  readonly #session = new ClientSession();
  readonly #ended = Promise.withResolvers<void>();
  readonly #subscribed = Promise.withResolvers<void>();
  #client: Line | undefined;
  #left: number;
  #isEnding = false;
  /** The broker is not read until what was printed is written. */
  #isHeld = false;
  readonly #output = new OutputQueue(() => this.#goOn());
  #exitCode = 0;
  /** DISCONNECT's; as with mosquitto_sub, whoever is interrupted has the broker publish its will. */
  #leavingReason: number = Reason.success;

  constructor(flags: SubscriberFlags, connection: Connection, topics: readonly string[], printer: Printer) {
    this.#flags = flags;
    this.#connection = connection;
    this.#topics = topics;
    this.#printer = printer;
    this.#filterOut = (flags.filterOut ?? []).map(filterOf);
    this.#left = flags.count ?? Infinity;
  }

  /**
   * Resolves with the exit code when it has ended, and all that it had to print is written. Rejects with
   * `OperatingError` if there is no broker at the start, none of the topics is granted, or the output cannot be
   * written.
   */
  async run(): Promise<number> {
    const { wait } = this.#flags;
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => this.#interrupt(signal));
    if (wait !== undefined) setTimeout(() => this.#timeOut(wait), wait * 1000);
    await Promise.race([this.#ended.promise, this.#output.failed, this.#start()]);
    await Promise.race([this.#ended.promise, this.#output.failed]);
    const { disconnect } = this.#connection.properties;
    if (this.#client instanceof SnConnection) this.#client.disconnect();
    else this.#client?.disconnect(disconnect, this.#client.version === 5 ? this.#leavingReason : Reason.success);
    await this.#output.written();
    return this.#exitCode;
  }

  /** Resolves when the broker has taken its subscriptions for the first time. */
  get subscribed(): Promise<void> {
    return this.#subscribed.promise;
  }

  /** Ends it, as a signal does. */
  stop(): void {
    this.#hurry("stopped");
  }

  async #start(): Promise<void> {
    this.#client = await this.#connect();
    if (this.#flags.debug === true) tell(`connected to ${this.#client.remote}`);
    await this.#begin(this.#client);
  }

  #connect(): Promise<Line> {
    return this.#connection.isSn
      ? connectAnySn(this.#connection, this.#callbacks())
      : connectAny(this.#connection, this.#callbacks());
  }

  /** Ends, or at once if it was about to end already. */
  #interrupt(signal: string): void {
    if (this.#isEnding) process.exit(1);
    this.#hurry(signal);
  }

  #timeOut(seconds: number): void {
    if (!this.#isEnding) this.#exitCode = timeoutExitCode;
    this.#hurry(`${seconds} s are over (-W)`);
  }

  #hurry(why: string): void {
    if (this.#flags.debug === true) tell(`ending: ${why}`);
    this.#leavingReason = Reason.disconnectWithWill;
    this.#end();
    void this.#output.hurry(readerStallMs);
  }

  #callbacks() {
    return {
      session: this.#session,
      // At once: what comes right behind it is not printed any more.
      onGranted: () => {
        if (this.#flags.exitAfterSuback === true) this.#isEnding = true;
      },
      onMessage: (message: Message) => this.#receive(message),
      onClose: (why: string) => void this.#comeBack(why).catch(this.#ended.reject),
    };
  }

  /**
   * A connection that is lost meanwhile is not its trouble: whoever is told of that connects again, and begins again.
   */
  async #begin(client: Line): Promise<void> {
    try {
      await this.#subscribe(client);
    } catch (error) {
      if (!(error instanceof OperatingError) || error.code !== "ECLOSED") throw error;
    }
  }

  async #subscribe(client: Line): Promise<void> {
    const { unsubscribe, qos, retainAsPublished = false, exitAfterSuback } = this.#flags;
    const { properties } = this.#connection;
    if (unsubscribe !== undefined) await client.unsubscribe(unsubscribe, properties.unsubscribe);
    if (this.#topics.length > 0) {
      const granted = await client.subscribe(this.#topics, {
        qos,
        retainAsPublished,
        ...(properties.subscribe && { properties: properties.subscribe }),
      });
      this.#judge(granted);
      this.#subscribed.resolve();
    }
    if (exitAfterSuback === true || this.#topics.length === 0) return this.#end();
    if (client instanceof SnConnection && this.#flags.sleep !== undefined) await client.sleep(this.#flags.sleep);
  }

  /** Some topics may be refused, but not all. */
  #judge(granted: readonly number[]): void {
    const refused = granted.flatMap((code, index) => (code >= Reason.unspecifiedError ? [{ code, index }] : []));
    const words = refused.map(({ code, index }) => `${this.#topics[index]}: ${describeReason(code)}`).join("; ");
    if (refused.length > 0 && refused.length === granted.length)
      throw new OperatingError("EREFUSED", `the broker refused ${words}`);
    if (refused.length > 0) this.#report(`the broker refused ${words}`);
  }

  async #comeBack(why: string): Promise<void> {
    // While there is none yet, whoever connects is told what goes wrong.
    if (this.#isEnding || this.#client === undefined) return;
    this.#client = undefined;
    this.#report(`${why}; connecting again`);
    const again = {
      report: (what: string) => this.#report(what),
      backoff: new Backoff({}, systemRandom),
      retryForMs: Infinity,
    };
    const client = this.#connection.isSn
      ? await untilConnected(() => this.#connect(), again)
      : await connectAgain(this.#connection, this.#callbacks(), again);
    this.#client = client;
    if (this.#isHeld) client.pause();
    // It may be gone already, and nobody was told: there was no client yet.
    if (client.whyClosed !== undefined) return this.#comeBack(client.whyClosed);
    await this.#begin(client);
  }

  #receive(message: Message): void {
    if (this.#isEnding) return;
    const { retainedOnly, removeRetained, skipRetained, respond: respondWith, randomFilter = 100 } = this.#flags;
    if (retainedOnly === true && !message.retain) return this.#end();
    const levels = message.topic.split("/");
    if (this.#filterOut.some((filter) => filterMatches(filter.levels, levels))) return;
    if (removeRetained === true && message.retain)
      void this.#client?.publish(message.topic, "", { qos: 1, retain: true }).catch(() => {});
    if (respondWith !== undefined && this.#client instanceof MqttConnection)
      void respond(this.#client, respondWith, message).catch((error) => this.#report(messageOf(error)));
    if (skipRetained === true && message.retain) return;
    if (randomFilter === 100 || systemRandom.next() * 100 < randomFilter) {
      try {
        this.#print(message);
      } catch (error) {
        // It could not be saved: it is not acknowledged, and nothing more is taken.
        this.#isEnding = true;
        this.#ended.reject(error);
        return this.#client instanceof MqttConnection ? this.#client.abort() : this.#client?.close();
      }
    }
    this.#left--;
    if (this.#left === 0) this.#end();
  }

  #print(message: Message): void {
    const bytes = this.#printer.bytesOf(message, new Date(systemClock.wall()));
    if (bytes === undefined) return;
    this.#output.push(bytes);
    if (this.#output.unwritten <= unwrittenMax || this.#isHeld) return;
    // Whoever reads what we print is slower than the broker: so it has to wait, and not our memory to grow.
    this.#isHeld = true;
    this.#client?.pause();
  }

  #goOn(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#client?.resume();
  }

  /** Ends when all messages that have come are acknowledged. */
  #end(): void {
    this.#isEnding = true;
    setImmediate(() => this.#ended.resolve());
  }

  #report(what: string): void {
    if (this.#flags.quiet !== true) complain(what);
  }
}
