/**
 * Publishes messages over MQTT-SN, one after the other as the standard has it. When the connection is lost it connects
 * again, and the message that was under way is published once more: it may come twice then.
 */
import { OperatingError } from "../../src/base/errors.ts";
import { systemRandom } from "../../src/base/random.ts";
import { Backoff } from "../../src/client/backoff.ts";
import type { SnConnection } from "../../src/client/sn-connection.ts";
import { Reason } from "../../src/mqtt/reason.ts";
import type { Connection } from "../flags/client-flags.ts";
import type { PublisherOptions, Refusal } from "./publisher.ts";
import { connectAnySn, untilConnected } from "./reconnect.ts";

export class SnPublisher {
  readonly #connection: Connection;
  readonly #options: PublisherOptions;
  readonly #backoff = new Backoff({}, systemRandom);
  #client: SnConnection | undefined;

  constructor(connection: Connection, options: PublisherOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /** Resolves with the reasons of those that were refused. Rejects with `OperatingError`. */
  async run(messages: AsyncIterable<Uint8Array | string>): Promise<readonly Refusal[]> {
    const refusals: Refusal[] = [];
    this.#use(await connectAnySn(this.#connection, {}));
    for await (const message of messages) {
      const reason = await this.#publish(message);
      if (reason >= Reason.unspecifiedError) refusals.push({ reason, text: undefined });
    }
    // What was sent at QoS 0 is there when this is answered, or is lost.
    await this.#client!.ping();
    this.#client!.disconnect();
    return refusals;
  }

  async #publish(message: Uint8Array | string): Promise<number> {
    const { topicOf, optionsOf } = this.#options;
    const [topic, publish] = [topicOf(), optionsOf()];
    for (;;) {
      try {
        const reason = await this.#client!.publish(topic, message, publish);
        this.#backoff.reset();
        return reason;
      } catch (error) {
        if (!(error instanceof OperatingError) || error.code !== "ECLOSED") throw error;
        await this.#comeBack(error);
      }
    }
  }

  async #comeBack(why: OperatingError): Promise<void> {
    const { retryForMs, onLost: report } = this.#options;
    if (retryForMs === 0) throw why;
    report(`${why.message}; connecting again`);
    const again = { report, backoff: this.#backoff, retryForMs };
    this.#use(await untilConnected(() => connectAnySn(this.#connection, {}), again));
  }

  #use(client: SnConnection): void {
    this.#client = client;
    this.#options.onConnected(client.remote);
  }
}
