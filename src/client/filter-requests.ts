/** SUBSCRIBE and UNSUBSCRIBE of one connection, and the answers that they wait for. */
import type { ISubscribePacket, IUnsubscribePacket } from "mqtt-packet";
import type { OperatingError } from "../base/errors.ts";
import type { ProtocolVersion } from "../mqtt/constants.ts";
import { encodeControl, type Packet } from "../mqtt/control.ts";
import { Reason } from "../mqtt/reason.ts";
import { checkText } from "./checks.ts";
import type { ClientSession } from "./client-session.ts";
import type { SubscribeOptions } from "./connection-options.ts";

export interface FilterRequestsContext {
  readonly session: ClientSession;
  readonly version: ProtocolVersion;
  /** The largest packet that the broker takes, in bytes. */
  readonly packetBytesMax: () => number;
  readonly write: (packet: Uint8Array) => void;
}

type PacketOf = (filters: readonly string[], messageId: number) => Packet;

interface Waiting {
  readonly resolve: (codes: readonly number[]) => void;
  readonly reject: (error: Error) => void;
}

export class FilterRequests {
  readonly #context: FilterRequestsContext;
  readonly #waiting = new Map<number, Waiting>();
  #why: OperatingError | undefined;

  constructor(context: FilterRequestsContext) {
    this.#context = context;
  }

  /** As `MqttConnection.subscribe`. */
  subscribe(filters: readonly string[], options: SubscribeOptions): Promise<readonly number[]> {
    const {
      qos = 0,
      noLocal: nl = false,
      retainAsPublished: rap = false,
      retainHandling: rh = 0,
      properties,
    } = options;
    const one = (topic: string) => (this.#context.version === 5 ? { topic, qos, nl, rap, rh } : { topic, qos });
    return this.#ask(filters, (some, messageId) => {
      const subscriptions = some.map(one);
      return { cmd: "subscribe", messageId, subscriptions, ...(properties && { properties }) } as ISubscribePacket;
    });
  }

  /** As `MqttConnection.unsubscribe`. */
  unsubscribe(filters: readonly string[], properties?: IUnsubscribePacket["properties"]): Promise<readonly number[]> {
    return this.#ask(filters, (some, messageId) => {
      const unsubscriptions = [...some];
      return { cmd: "unsubscribe", messageId, unsubscriptions, ...(properties && { properties }) } as Packet;
    });
  }

  answered(packetId: number, codes: readonly number[]): void {
    this.#context.session.asking.delete(packetId);
    this.#waiting.get(packetId)?.resolve(codes);
    this.#waiting.delete(packetId);
  }

  /** The connection is closed: no answer comes any more. */
  close(error: OperatingError): void {
    this.#why = error;
    this.#context.session.asking.clear();
    for (const waiting of this.#waiting.values()) waiting.reject(error);
  }

  /** Asks for all filters at once, or in as many packets as it takes for the broker to take each [MQTT-3.2.2-15]. */
  async #ask(filters: readonly string[], packetOf: PacketOf): Promise<readonly number[]> {
    for (const filter of filters) checkText("a topic filter", filter);
    const { session, version, packetBytesMax, write } = this.#context;
    const messageId = session.takeId();
    const bytes = encodeControl(packetOf(filters, messageId), version);
    if (bytes.length > packetBytesMax()) {
      if (filters.length === 1) return [Reason.packetTooLarge];
      const middle = filters.length >> 1;
      const halves = [filters.slice(0, middle), filters.slice(middle)];
      return (await Promise.all(halves.map((half) => this.#ask(half, packetOf)))).flat();
    }
    write(bytes);
    session.asking.add(messageId);
    if (this.#why !== undefined) throw this.#why;
    return new Promise((resolve, reject) => this.#waiting.set(messageId, { resolve, reject }));
  }
}
