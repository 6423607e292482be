/** Clients that come back with their sessions whenever a broker does, and a history of what they did and saw. */
import { ClientSession } from "../../src/client/client-session.ts";
import type { MqttConnection } from "../../src/client/connection.ts";
import { connect } from "../../src/client/dial.ts";
import type { QoS } from "../../src/mqtt/constants.ts";
import type { History } from "./history.ts";
import { pad, unpad } from "./padding.ts";

/** Publishes of one publisher that are not acknowledged, at most. */
const window = 20;

/** The port to connect to: asked at each attempt. */
export type Where = () => number;

export interface WorkerOptions {
  readonly session: ClientSession;
  readonly history: History;
  readonly host?: string;
  readonly where: Where;
  readonly login?: { readonly username: string; readonly password: string };
}

export class Worker {
  readonly name: string;
  readonly session: ClientSession;
  readonly history: History;
  client: MqttConnection | undefined;
  port = 0;
  up = false;
  #coming = false;
  readonly #host: string;
  readonly #where: Where;
  readonly #login: WorkerOptions["login"];

  constructor(name: string, options: WorkerOptions) {
    this.name = name;
    this.session = options.session;
    this.history = options.history;
    this.#host = options.host ?? "127.0.0.1";
    this.#where = options.where;
    this.#login = options.login;
  }

  async comeBack(): Promise<void> {
    if (this.up || this.#coming) return;
    this.#coming = true;
    this.port = this.#where();
    // It may be closed again before anybody is told that it was open.
    let isClosed = false;
    try {
      this.client = await connect({
        host: this.#host,
        port: this.port,
        clientId: this.name,
        clean: false,
        keepAlive: 2,
        connectTimeout: 5,
        sessionExpiryInterval: 0xffff_ffff,
        session: this.session,
        ...this.#login,
        onMessage: ({ payload }) => this.history.receive(this.name, unpad(payload)),
        onClose: () => {
          isClosed = true;
          this.up = false;
        },
      });
      this.up = !isClosed;
    } catch {
      // The broker was killed while we connected, or does not answer.
    } finally {
      this.#coming = false;
    }
  }
}

export interface PublisherOptions extends Omit<WorkerOptions, "session"> {
  readonly qos: QoS;
  readonly prefix: string;
  /** Length of each payload; as short as may be, if it is not given. */
  readonly bytes?: number;
  /** Message Expiry Interval of each, in s. */
  readonly expiry?: number;
}

export class Publisher extends Worker {
  readonly #qos: QoS;
  readonly #prefix: string;
  readonly #bytes: number;
  readonly #properties: { messageExpiryInterval?: number };
  #sequence = 0;

  constructor(name: string, options: PublisherOptions) {
    const { history, qos, prefix } = options;
    const session = new ClientSession(({ publish }, reason) => {
      if (reason < 0x80)
        history.acknowledge(unpad(publish.payloadBytes.subarray(publish.payloadStart, publish.payloadEnd)));
    });
    super(name, { ...options, session });
    this.#qos = qos;
    this.#prefix = prefix;
    this.#bytes = options.bytes ?? 0;
    this.#properties = options.expiry === undefined ? {} : { messageExpiryInterval: options.expiry };
  }

  get isSettled(): boolean {
    return this.session.outgoing.size === 0;
  }

  /** Publishes as much as may be unacknowledged, or less. */
  pump(most = Infinity): void {
    for (let count = 0; this.up && this.session.outgoing.size < window && count < most; count++) {
      const topic = `${this.#prefix}/${this.name}`;
      const words = this.history.send({ publisher: this.name, topic, sequence: this.#sequence++, qos: this.#qos });
      const how = { qos: this.#qos, properties: this.#properties };
      this.client!.publish(topic, pad(words, this.#bytes), how).catch(() => {});
    }
  }
}
