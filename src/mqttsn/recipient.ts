/** The client of MQTT-SN as its deliveries see it: of each there are thousands, so nothing is made for one alone. */
import type { Recipient } from "./deliveries.ts";
import type { DeviceContext, Named } from "./device-context.ts";
import type { Peer } from "./peer.ts";
import type { SnMetrics } from "./sn-metrics.ts";
import type { TopicIds } from "./topic-ids.ts";

/** The client, and what its deliveries bring about. */
interface Device extends Named, Pick<Recipient, "acknowledge" | "mailWaits" | "unanswered" | "idle"> {
  readonly topics: TopicIds;
}

export class DeviceRecipient<Owner> implements Recipient {
  readonly #device: Device;
  readonly #context: DeviceContext<Owner>;

  constructor(device: Device, context: DeviceContext<Owner>) {
    this.#device = device;
    this.#context = context;
  }

  get peer(): Peer {
    return this.#device.peer;
  }

  get topics(): TopicIds {
    return this.#device.topics;
  }

  get retryMs(): number {
    return this.#context.retryMs;
  }

  get datagramBytesMax(): number {
    return this.#context.datagramBytesMax;
  }

  get metrics(): SnMetrics {
    return this.#context.metrics;
  }

  predefinedId(topic: string): number | undefined {
    return this.#context.predefined.find(this.#device.clientId, topic)?.id;
  }

  acknowledge(type: number, packetId: number, reason: number): void {
    this.#device.acknowledge(type, packetId, reason);
  }

  tooLarge(topic: string, size: number): void {
    this.#context.tooLarge(this.#device, topic, size);
  }

  mailWaits(): boolean {
    return this.#device.mailWaits();
  }

  unanswered(): void {
    this.#device.unanswered();
  }

  idle(now: number): void {
    this.#device.idle(now);
  }
}
