/** The broker that the doctor looks at: connections to it, and messages through it, each with its patience. */
import { decodeUtf8 } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { OperatingError } from "../../src/base/errors.ts";
import { systemRandom } from "../../src/base/random.ts";
import type { MqttConnection } from "../../src/client/connection.ts";
import type {
  ConnectionOptions,
  Message,
  PublishOptions,
  SubscribeOptions,
} from "../../src/client/connection-options.ts";
import { within } from "../../src/client/deadlines.ts";
import { connect, type Place } from "../../src/client/dial.ts";
import type { ProtocolVersion } from "../../src/mqtt/constants.ts";
import { describeReason, Reason } from "../../src/mqtt/reason.ts";

/** The time after which a message is not waited for any longer, in ms: a broker that is busy is not broken. */
const patienceMs = 5000;
/** Seconds until CONNECT must be answered. */
const connectPatience = 5;

/** A connection as a visit needs it, over MQTT or MQTT-SN. */
interface Line {
  subscribe(filters: readonly string[], options: SubscribeOptions): Promise<readonly number[]>;
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions): Promise<number>;
  disconnect(): void;
}

/** One connection that remembers what has come. */
export class Visit<Over extends Line = MqttConnection> {
  readonly connection: Over;
  readonly #messages: Message[];
  #wake: () => void = () => {};

  constructor(connection: Over, messages: Message[]) {
    this.connection = connection;
    this.#messages = messages;
  }

  /** A message has come. */
  readonly heard = (): void => this.#wake();

  /** Rejects with `OperatingError` if the broker refuses it. Resolves with the granted QoS. */
  async subscribe(filter: string, options: SubscribeOptions = {}): Promise<number> {
    const [code = Reason.unspecifiedError] = await inTime(this.connection.subscribe([filter], options), "SUBACK");
    if (code >= Reason.unspecifiedError) throw new OperatingError("EREFUSED", `SUBACK says ${describeReason(code)}`);
    return code;
  }

  /** Rejects with `OperatingError` if the broker refuses it. */
  async publish(topic: string, text: string | Uint8Array, options: PublishOptions = {}): Promise<void> {
    const reason = await inTime(this.connection.publish(topic, text, options), "the acknowledgement of a publish");
    if (reason >= Reason.unspecifiedError)
      throw new OperatingError("EREFUSED", `PUBACK says ${describeReason(reason)}`);
  }

  /** The next message on a topic that begins so, or any; rejects if none comes. */
  async next(topicStart = ""): Promise<Message> {
    const found = await this.nextIfAny(topicStart, patienceMs);
    if (found === undefined) throw new OperatingError("ETIMEOUT", "no message came");
    return found;
  }

  /** The next message on a topic that begins so, or undefined if none comes within `ms`. */
  async nextIfAny(topicStart: string, ms: number): Promise<Message | undefined> {
    const giveUpAt = systemClock.now() + ms;
    for (;;) {
      const at = this.#messages.findIndex(({ topic }) => topic.startsWith(topicStart));
      if (at !== -1) return this.#messages.splice(at, 1)[0];
      const left = giveUpAt - systemClock.now();
      if (left <= 0) return undefined;
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await within(woken, { ms: left, late: () => new Error("late") }).catch(() => {});
    }
  }

  leave(): void {
    this.connection.disconnect();
  }
}

/** The visits to one broker, and topics of their own. */
export class Visits<Over extends Line> {
  readonly #all: Visit<Over>[] = [];
  readonly #root: string;

  constructor(root: string) {
    this.#root = `${root}/${systemRandom.hex(4)}`;
  }

  /** A topic that nobody else uses. */
  topic(name: string): string {
    return `${this.#root}/${name}`;
  }

  /** Connects, and remembers what comes. Rejects as `connect` does. */
  protected async visitOver(connect: (onMessage: (message: Message) => void) => Promise<Over>): Promise<Visit<Over>> {
    const messages: Message[] = [];
    let visit: Visit<Over> | undefined;
    const connection = await connect((message) => {
      messages.push(message);
      visit?.heard();
    });
    visit = new Visit(connection, messages);
    this.#all.push(visit);
    return visit;
  }

  leave(): void {
    for (const visit of this.#all) visit.leave();
  }
}

export class Patient extends Visits<MqttConnection> {
  readonly place: Place;
  /** The best version that it speaks. */
  version: ProtocolVersion = 5;
  readonly #options: ConnectionOptions;

  constructor(place: Place, options: ConnectionOptions, root: string) {
    super(root);
    this.place = place;
    this.#options = options;
  }

  get isLocal(): boolean {
    return isLocal(this.place.host) || this.place.socket !== undefined;
  }

  get isEncrypted(): boolean {
    return this.#options.tls !== undefined;
  }

  get hasLogin(): boolean {
    const { username, password, login, tls } = this.#options;
    return (username ?? password ?? login ?? tls?.cert) !== undefined;
  }

  /** Rejects with `OperatingError`. */
  visit(more: ConnectionOptions = {}): Promise<Visit> {
    return this.visitOver((onMessage) =>
      connect({
        ...this.#options,
        ...this.place,
        version: this.version,
        connectTimeout: connectPatience,
        clientId: `doctor-${systemRandom.hex(6)}`,
        clean: true,
        ...more,
        onMessage,
      }),
    );
  }
}

/** Returns true for names and addresses of this machine. */
export function isLocal(host: string): boolean {
  return /^(localhost|127\.|::1$)/.test(host);
}

export function textOf({ payload }: Message): string {
  return decodeUtf8(payload);
}

function inTime<Value>(promise: Promise<Value>, what: string): Promise<Value> {
  const late = (): Error => new OperatingError("ETIMEOUT", `${what} did not come within ${patienceMs / 1000} s`);
  return within(promise, { ms: patienceMs, late });
}
