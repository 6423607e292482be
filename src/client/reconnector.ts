/**
 * Keeps a connection: dials the brokers in turn, and again when a connection is lost, with full jitter so that not all
 * clients of a broker that died come at once; goes where a broker sends it (Server Reference, 4.11).
 */

import { referencesFollowedMax } from "../base/client-limits.ts";
import { systemClock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Random } from "../base/random.ts";
import type { ProtocolVersion } from "../mqtt/constants.ts";
import { Reason } from "../mqtt/reason.ts";
import type { TransportEvents } from "../net/transport.ts";
import { type Address, nameOf, parseReference } from "./address.ts";
import { Backoff } from "./backoff.ts";
import type { LogLevel, ReconnectOptions, Status } from "./client-options.ts";
import type { ClosingReason } from "./closing-reason.ts";
import { eventsOf, MqttConnection } from "./connection.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import { defer, pause, within } from "./deadlines.ts";
import { ClientClosed, ConnectFailed } from "./errors.ts";

/** Opens a transport; rejects if it cannot be had. */
export type Dialer = (address: Address, events: TransportEvents<MqttConnection>) => Promise<unknown>;

export interface ReconnectorOptions {
  readonly addresses: readonly Address[];
  readonly dialer: Dialer;
  /** The options of one connection; asked before each, since passwords may be tokens that expire. */
  readonly connection: () => Promise<ConnectionOptions>;
  readonly connectTimeoutMs: number;
  /** True: the first connection is waited for as long as it takes. */
  readonly isPatient: boolean;
  /** Undefined: a connection that is lost is the end. */
  readonly reconnect: ReconnectOptions | undefined;
  readonly random: Random;
  readonly onConnected: (connection: MqttConnection) => void;
  readonly onDisconnected: () => void;
  readonly onStatus: (status: Status) => void;
  readonly log: (level: LogLevel, message: string) => void;
  readonly onEnded: (error: ClientClosed) => void;
}

/** A connection that has lasted for so long was a good one. */
const steadyMs = 5000;

/**
 * Another connection of this client id has taken its place, or it will never be let in: trying again would be a fight.
 */
const finalReasons: ReadonlySet<number> = new Set([
  Reason.unsupportedProtocolVersion,
  Reason.clientIdentifierNotValid,
  Reason.badUserNameOrPassword,
  Reason.notAuthorized,
  Reason.badAuthenticationMethod,
  Reason.sessionTakenOver,
]);

export class Reconnector {
  status: Status = { state: "connecting" };
  readonly #options: ReconnectorOptions;
  readonly #ending = new AbortController();
  /** Where a broker has sent us; tried before the others, once. */
  #references: Address[] = [];
  #next = 0;
  readonly #backoff: Backoff;
  /** 4, where brokers have said that they do not speak MQTT 5, and the application has not asked for it. */
  #version: ProtocolVersion | undefined;
  #connection: MqttConnection | undefined;
  #isEnded = false;
  /** The error that has ended it for good. */
  error: ClientClosed | undefined;

  constructor(options: ReconnectorOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.reconnect ?? {}, options.random);
  }

  /**
   * Resolves with the first connection, or at once if it is patient. Rejects with `ConnectFailed` when no broker takes
   * us, or with the signal's reason.
   */
  async start(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#options.isPatient) void this.#startPatiently(signal);
    else await this.#startNow(signal);
  }

  async #startNow(signal: AbortSignal | undefined): Promise<void> {
    const abort = (): void => this.end(new ClientClosed("aborted"));
    signal?.addEventListener("abort", abort);
    try {
      const { connection, lost } = await this.#dialAny();
      signal?.throwIfAborted();
      void this.#live(connection, lost);
    } catch (error) {
      this.end(new ClientClosed("it never connected"));
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  async #startPatiently(signal: AbortSignal | undefined): Promise<void> {
    const abort = (): void => this.end(new ClientClosed("aborted"));
    signal?.addEventListener("abort", abort);
    const first = await this.#dialAny().catch((error) => (this.#isFinal(error) ? undefined : this.#dialAgain(error)));
    signal?.removeEventListener("abort", abort);
    if (first !== undefined) await this.#live(first.connection, first.lost);
  }

  /** Ends for good; the connection is cut unless it has been left properly before. */
  end(error: ClientClosed): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.error = error;
    this.#ending.abort();
    this.#connection?.abort(error.message);
    this.#report({ state: "closed", why: error.message });
    this.#options.onEnded(error);
  }

  async #live(first: MqttConnection, firstLost: Promise<string>): Promise<void> {
    let connection = first;
    let lost = firstLost;
    for (;;) {
      const startedAt = systemClock.now();
      const why = await lost;
      this.#connection = undefined;
      this.#options.onDisconnected();
      if (this.#isEnded) return;
      const { reconnect } = this.#options;
      const { closingReason } = connection;
      if (reconnect === undefined || finalReasons.has(closingReason?.reason ?? 0))
        return this.end(new ClientClosed(why));
      this.#follow(closingReason);
      // A broker that lets us in and drops us at once is not to be asked more and more.
      if (systemClock.now() - startedAt >= steadyMs) this.#backoff.reset();
      const again = await this.#dialAgain(new Error(why));
      if (again === undefined) return;
      ({ connection, lost } = again);
    }
  }

  async #dialAgain(lost: unknown) {
    let last = lost;
    while (!this.#isEnded) {
      const inMs = this.#backoff.next();
      this.#report({ state: "reconnecting", why: messageOf(last), inMs });
      await pause(inMs, this.#ending.signal);
      try {
        return await this.#dialAny();
      } catch (error) {
        last = error;
        if (this.#isFinal(error)) return undefined;
      }
    }
    return undefined;
  }

  /** Ends, and returns true, if an attempt has failed for a reason that will be the same the next time. */
  #isFinal(error: unknown): boolean {
    if (!(error instanceof ConnectFailed && finalReasons.has(error.reasonCode ?? 0))) return this.#isEnded;
    this.end(new ClientClosed(error.message, { cause: error }));
    return true;
  }

  /** One round: each broker once, beginning after the one that was last. Rejects with what the last of them said. */
  async #dialAny(): Promise<{ connection: MqttConnection; lost: Promise<string> }> {
    const { addresses } = this.#options;
    let last: unknown;
    // Brokers that send us to each other are asked so often, and no more.
    let referencesLeft = referencesFollowedMax;
    for (let left = addresses.length; left > 0; ) {
      if (this.#isEnded) throw new ClientClosed("it has ended");
      const reference = referencesLeft-- > 0 ? this.#references.shift() : undefined;
      if (reference === undefined) left--;
      const address = reference ?? addresses[this.#next++ % addresses.length]!;
      try {
        return await this.#dial(address);
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  async #dial(address: Address): Promise<{ connection: MqttConnection; lost: Promise<string> }> {
    const { dialer, connectTimeoutMs, onConnected } = this.#options;
    const name = nameOf(address);
    const lost = defer<string>();
    const late = (): Error => new Error(`no answer within ${connectTimeoutMs / 1000} s`);
    const patience = { ms: connectTimeoutMs, late, signal: this.#ending.signal };
    this.#report({ state: "connecting", broker: name });
    const options = await within(this.#options.connection(), patience);
    const connection = new MqttConnection({
      ...options,
      ...(this.#version && { version: this.#version }),
      onClose: lost.resolve,
      onReady: (ready) => {
        this.#connection = ready;
        onConnected(ready);
        this.#report({ state: "connected", broker: name, sessionPresent: ready.sessionPresent });
      },
    });
    const dialled = dialer(address, eventsOf(connection));
    // What goes wrong there says itself where it was.
    let place = `${name}: `;
    dialled.catch(() => {
      place = "";
    });
    try {
      const ready = Promise.race([dialled.then(() => connection.ready), connection.ready]);
      await within(ready, patience);
    } catch (error) {
      connection.abort(messageOf(error));
      this.#follow(connection.closingReason);
      const { closingReason } = connection;
      const isTooNew = closingReason?.reason === Reason.unsupportedProtocolVersion;
      if (isTooNew && options.version === undefined && this.#version === undefined) {
        this.#version = 4;
        this.#options.log("info", `${name} does not speak MQTT 5: MQTT 3.1.1 is spoken`);
        return this.#dial(address);
      }
      const said = closingReason?.text === undefined ? "" : `: ${closingReason.text}`;
      throw new ConnectFailed(`${place}${messageOf(error)}${said}`, closingReason?.reason);
    }
    return { connection, lost: lost.promise };
  }

  #follow(closingReason: ClosingReason | undefined): void {
    const like = this.#options.addresses[0]!;
    if (closingReason?.serverReference !== undefined)
      this.#references = parseReference(closingReason.serverReference, like);
  }

  #report(status: Status): void {
    if (this.status.state === "closed") return;
    this.status = status;
    this.#options.log(...lineOf(status));
    this.#options.onStatus(status);
  }
}

/** A status as a line of a log. */
function lineOf(status: Status): [LogLevel, string] {
  switch (status.state) {
    case "connecting":
      return ["debug", `dials ${status.broker}`];
    case "connected":
      return ["info", `connected to ${status.broker}, ${status.sessionPresent ? "with its" : "in a new"} session`];
    case "reconnecting":
      return ["warn", `no connection: ${status.why}; tries again in ${status.inMs} ms`];
    case "closed":
      return ["info", `closed: ${status.why}`];
  }
}
