/**
 * A connection over MQTT-SN, for tools: the client's machine with a UDP socket and a clock. It has what `pub` and `sub`
 * use of a connection over MQTT; it is no part of the library for applications.
 */
import { type Alarm, setAlarm } from "../base/alarm.ts";
import { encodeUtf8 } from "../base/bytes.ts";
import { systemClock } from "../base/clock.ts";
import { OperatingError } from "../base/errors.ts";
import { systemRandom } from "../base/random.ts";
import { snClientRetryMs } from "../base/sn-limits.ts";
import type { QoS } from "../mqtt/constants.ts";
import { Reason } from "../mqtt/reason.ts";
import { SnClient } from "../mqttsn/client.ts";
import type { Publication } from "../mqttsn/client-terms.ts";
import { ReturnCode } from "../mqttsn/constants.ts";
import type { Received } from "../mqttsn/inward.ts";
import type { SnMessage } from "../mqttsn/message-kinds.ts";
import type { SnWill } from "../mqttsn/mqtt-packets.ts";
import { codeWords } from "../mqttsn/terms.ts";
import { dialUdp, type UdpLine } from "../net/udp.ts";
import { ConnectionRefused } from "./closing-reason.ts";
import type { Message } from "./connection-options.ts";

export interface SnConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly clientId: string;
  readonly clean?: boolean;
  /** Seconds. */
  readonly keepAlive?: number;
  readonly will?: SnWill;
  /** Requests that are under way at once; 1 unless set. */
  readonly window?: number;
  readonly onMessage?: (message: Message) => void;
  readonly onClose?: (why: string) => void;
}

const keepAliveDefault = 60;
/** The largest datagram of UDP over IPv4, without PUBLISH's own bytes. */
const payloadBytesMax = 65_507 - 9;

/**
 * Dials and connects. Rejects with `OperatingError`: nobody is there (ECONNECT), nobody answers (ETIMEOUT), or the
 * gateway refuses us (`ConnectionRefused`).
 */
export async function connectSn(options: SnConnectionOptions): Promise<SnConnection> {
  const connection = await SnConnection.dial(options);
  try {
    await connection.connect();
  } catch (error) {
    connection.close();
    throw error;
  }
  return connection;
}

export class SnConnection {
  /** The tools ask for it; properties are of MQTT 5 alone. */
  readonly version = 4;
  readonly machine: SnClient;
  readonly #options: SnConnectionOptions;
  readonly #alarm: Alarm;
  #line: UdpLine | undefined;
  #whyClosed: string | undefined;
  #isConnected = false;
  /** Rejects all that is waited for. */
  readonly #broken = Promise.withResolvers<never>();

  private constructor(options: SnConnectionOptions) {
    this.#options = options;
    const { clientId, clean = true, keepAlive = keepAliveDefault, will, window = 1 } = options;
    const firstId = 1 + Math.floor(systemRandom.next() * 0xfffe);
    this.machine = new SnClient(
      { ...{ clientId, clean, keepAlive, will, window, firstId }, retryMs: snClientRetryMs },
      {
        clock: systemClock,
        send: (bytes) => this.#line?.send(bytes),
        received: (message) => this.#received(message),
        lost: (why) => this.#close(`${why} (${this.remote}, UDP)`, "ETIMEOUT"),
      },
    );
    this.#alarm = setAlarm(
      { nextDeadline: () => this.machine.nextDeadline(), tick: () => this.machine.tick(systemClock.now()) },
      systemClock,
    );
    // Whoever waits is told.
    this.#broken.promise.catch(() => {});
  }

  /** Opens the socket; nothing is said yet. Rejects with `OperatingError` (ECONNECT). */
  static async dial(options: SnConnectionOptions): Promise<SnConnection> {
    const connection = new SnConnection(options);
    connection.#line = await dialUdp(options.host, options.port, {
      received: (bytes) => {
        connection.machine.receive(bytes);
        connection.#alarm.wake();
      },
      failed: (why) => connection.#close(`${connection.remote}: ${why}`, "ECONNECT"),
    });
    return connection;
  }

  get remote(): string {
    return this.#line?.remote ?? "";
  }

  /** Undefined: it is open. */
  get whyClosed(): string | undefined {
    return this.#whyClosed;
  }

  /** Bytes that the kernel has not taken yet. */
  get unsent(): number {
    return this.#line?.unsent ?? 0;
  }

  /** CONNECT. Rejects with `OperatingError`. */
  async connect(): Promise<void> {
    const { code } = await this.#ask<"connack">((answered) => this.machine.connect(answered));
    if (code === ReturnCode.accepted) {
      this.#isConnected = true;
      return;
    }
    throw new ConnectionRefused("EREFUSED", words(code), code);
  }

  /** Subscribes one after the other. Resolves with what was granted: a QoS, or MQTT's reason for none. */
  async subscribe(filters: readonly string[], { qos = 0 }: { readonly qos?: QoS }): Promise<number[]> {
    const granted: number[] = [];
    for (const filter of filters) {
      const answer = await this.#ask<"suback">((answered) => this.machine.subscribe(filter, qos, answered));
      granted.push(answer.code === ReturnCode.accepted ? Math.max(0, answer.qos) : reasonOf(answer.code));
    }
    return granted;
  }

  async unsubscribe(filters: readonly string[]): Promise<void> {
    for (const filter of filters) await this.#ask<"unsuback">((answered) => this.machine.unsubscribe(filter, answered));
  }

  /**
   * Resolves with MQTT's reason when it is acknowledged; at QoS 0, when it is sent. Rejects with `OperatingError` for
   * what is too large, and when the connection is lost.
   */
  async publish(
    topic: string,
    message: Uint8Array | string,
    { qos = 0, retain = false }: { readonly qos?: QoS; readonly retain?: boolean } = {},
  ): Promise<number> {
    const payload = typeof message === "string" ? encodeUtf8(message) : message;
    if (payload.length > payloadBytesMax)
      throw new OperatingError(
        "EUSAGE",
        `a datagram takes ${payloadBytesMax} bytes, the message has ${payload.length}`,
      );
    const { code } = await this.#ask<"puback">((answered) =>
      this.machine.publish({ topic, payload, qos, retain }, answered),
    );
    return reasonOf(code);
  }

  /** Publishes without a promise; `settled` is called with MQTT's reason, unless the connection is lost before. */
  put(publication: Publication, settled: (reason: number) => void): void {
    this.machine.publish(publication, (answer) => {
      if (answer !== undefined) settled(reasonOf(answer.code));
    });
    if (publication.qos > 0) this.#alarm.wake();
  }

  /** Resolves when the gateway has answered; of a client that sleeps, when all that waited has come. */
  async ping(): Promise<void> {
    await this.#ask<"pingresp">((answered) => this.machine.ping(answered));
  }

  /** Sleeps, and wakes by itself every so many seconds for what waits. */
  async sleep(seconds: number): Promise<void> {
    await this.#ask<"disconnect">((answered) => this.machine.sleep(seconds, answered));
  }

  /** Resolves with the number of the gateway that is there. */
  async search(): Promise<number> {
    return (await this.#ask<"gwinfo">((answered) => this.machine.search(answered))).gatewayId;
  }

  /** Messages are left to be sent again until `resume`. */
  pause(): void {
    this.machine.isPaused = true;
  }

  resume(): void {
    this.machine.isPaused = false;
  }

  /** Leaves; the gateway is told, and not waited for. */
  disconnect(): void {
    if (this.#whyClosed !== undefined) return;
    this.machine.disconnect(() => {});
    this.#end("disconnected");
  }

  /** Closes without a word to the gateway. */
  close(): void {
    this.#end("closed");
  }

  #received({ topic, payload, qos, retain, dup, messageId: packetId }: Received): void {
    // The datagram's memory is used again.
    this.#options.onMessage?.({ topic, payload: payload.slice(), qos, retain, dup, packetId, properties: undefined });
  }

  /** Makes a request. Rejects with `OperatingError` when the connection is lost before its answer. */
  #ask<Kind extends "connack" | "suback" | "unsuback" | "puback" | "pingresp" | "disconnect" | "gwinfo">(
    request: (answered: (answer: AnswerOf<Kind> | undefined) => void) => void,
  ): Promise<AnswerOf<Kind>> {
    const answer = new Promise<AnswerOf<Kind>>((resolve) => {
      request((found) => found !== undefined && resolve(found));
    });
    this.#alarm.wake();
    return Promise.race([answer, this.#broken.promise]);
  }

  #close(why: string, code: "ETIMEOUT" | "ECONNECT"): void {
    if (this.#whyClosed !== undefined) return;
    const isTold = this.#isConnected;
    this.#end(why);
    this.#broken.reject(new OperatingError(isTold ? "ECLOSED" : code, why));
    if (isTold) this.#options.onClose?.(why);
  }

  #end(why: string): void {
    this.#whyClosed ??= why;
    this.#alarm.stop();
    this.#line?.close();
  }
}

type AnswerOf<Kind> = Extract<SnMessage, { kind: Kind }>;

/** Returns MQTT's reason that says what a return code does. */
function reasonOf(code: number): number {
  if (code === ReturnCode.accepted) return Reason.success;
  if (code === ReturnCode.congestion) return Reason.serverBusy;
  return code === ReturnCode.invalidTopicId ? Reason.topicNameInvalid : Reason.implementationSpecific;
}

function words(code: number): string {
  return codeWords[code] ?? `return code ${code}`;
}
