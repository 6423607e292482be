/**
 * Publishes messages one after the other, so many at once. When the connection is lost it goes on at another broker, or
 * at the same one when that is back; what was under way is sent again there. A message that no broker will take is
 * given up, and the others go on.
 */
import { OperatingError } from "../../src/base/errors.ts";
import { systemRandom } from "../../src/base/random.ts";
import { Backoff } from "../../src/client/backoff.ts";
import { ClientSession } from "../../src/client/client-session.ts";
import type { MqttConnection } from "../../src/client/connection.ts";
import type { PublishOptions } from "../../src/client/connection-options.ts";
import { describeReason, Reason } from "../../src/mqtt/reason.ts";
import type { Connection } from "../flags/client-flags.ts";
import { complain } from "../output/print.ts";
import { connectAgain, connectAny } from "./reconnect.ts";

/** Bytes that may wait for a broker that takes them slowly. */
const unsentMax = 1024 * 1024;
/** Bytes at QoS 0 that surely have room where the broker's system keeps them, whether it reads them or not. */
const unreadMax = 16 * 1024;

export interface PublisherOptions {
  /** Returns the topic of the message that was taken last. */
  readonly topicOf: () => string;
  /** Publishes at QoS 1 and 2 that are not acknowledged, at most. */
  readonly inflight: number;
  /** Returns the options of the message that was taken last. */
  readonly optionsOf: () => PublishOptions;
  /** Milliseconds for which it tries to connect again when a connection is lost; Infinity: for ever. */
  readonly retryForMs: number;
  /** Told for people what happens: at which broker it is, and why it is there no more. */
  readonly onConnected: (remote: string) => void;
  readonly onLost: (why: string) => void;
}

export interface Refusal {
  readonly reason: number;
  readonly text: string | undefined;
}

export class Publisher {
  readonly #connection: Connection;
  readonly #options: PublisherOptions;
  readonly #session = new ClientSession((_, reason, text) => this.#settled(reason, text), { givesUp: true });
  readonly #backoff = new Backoff({}, systemRandom);
  readonly #refusals: Refusal[] = [];
  /** Undefined: there is none now. */
  #client: MqttConnection | undefined;
  #failure: OperatingError | undefined;
  /** Called when something has changed that somebody may wait for. */
  #changed: () => void = () => {};

  constructor(connection: Connection, options: PublisherOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /** Resolves with the reasons of those that were refused. Rejects with `OperatingError`. */
  async run(messages: AsyncIterable<Uint8Array | string>): Promise<readonly Refusal[]> {
    const { topicOf, optionsOf, inflight } = this.#options;
    this.#use(await connectAny(this.#connection, this.#callbacks));
    let unacknowledged = 0;
    for await (const message of messages) {
      const client = await this.#connected();
      const publish = optionsOf();
      const isSure = (publish.qos ?? 0) > 0;
      // What becomes of it at QoS 1 and 2, and of the connection, `#settled` and `#lost` are told.
      const publishing = client.publish(topicOf(), message, publish);
      publishing.then((reason) => !isSure && this.#settled(reason, undefined)).catch(() => {});
      await this.#until(() => this.#session.outgoing.size < inflight);
      if (!isSure) unacknowledged += message.length;
      if (client.unsent > unsentMax) await client.ping().catch(() => {});
    }
    await this.#until(() => this.#session.outgoing.size === 0);
    // A connection that is closed is given up soon, with what its system has not sent: so this is not closed before the
    // broker has read all.
    if (unacknowledged > unreadMax) await (await this.#connected()).ping();
    const client = this.#client;
    this.#client = undefined;
    client?.disconnect(this.#connection.properties.disconnect);
    return this.#refusals;
  }

  get #callbacks() {
    return { session: this.#session, onClose: (why: string) => this.#lost(why) };
  }

  #use(client: MqttConnection): void {
    this.#client = client;
    this.#options.onConnected(client.remote);
    this.#changed();
    // It may be gone already, and nobody was told: there was no client yet.
    if (client.whyClosed !== undefined) this.#lost(client.whyClosed);
  }

  #lost(why: string): void {
    // While there is none, whoever connects is told what goes wrong.
    if (this.#client === undefined) return;
    this.#client = undefined;
    const { retryForMs, onLost: report } = this.#options;
    if (retryForMs === 0) return this.#fail(new OperatingError("ECLOSED", why));
    report(`${why}; connecting again`);
    connectAgain(this.#connection, this.#callbacks, { report, backoff: this.#backoff, retryForMs }).then(
      (client) => this.#use(client),
      (error) => this.#fail(error),
    );
  }

  #settled(reason: number, text: string | undefined): void {
    if (reason >= Reason.unspecifiedError) this.#refusals.push({ reason, text });
    this.#backoff.reset();
    this.#changed();
  }

  #fail(error: OperatingError): void {
    this.#failure = error;
    this.#changed();
  }

  async #connected(): Promise<MqttConnection> {
    await this.#until(() => this.#client !== undefined);
    return this.#client!;
  }

  async #until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }
}

/** Says in one line what was refused, if anything was; then the command ends with the first one's reason code. */
export function tellRefusals(refusals: readonly Refusal[], { isQuiet }: { readonly isQuiet: boolean }): void {
  const [first] = refusals;
  if (first === undefined) return;
  const many = refusals.length === 1 ? "the message" : `${refusals.length} messages`;
  if (!isQuiet)
    complain(`the broker refused ${many}: ${describeReason(first.reason)}${first.text ? `: ${first.text}` : ""}`);
  process.exitCode = first.reason;
}
