/** A message as the test broker has it. */
import type { IPublishPacket } from "mqtt-packet";
import type { QoS } from "../mqtt/constants.ts";

export interface TestMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  /** The payload as UTF-8. */
  readonly text: string;
  readonly qos: QoS;
  readonly retain: boolean;
  /** The client that has published it; undefined: the test has. */
  readonly clientId: string | undefined;
  /** MQTT 5's, under mqtt-packet's names. */
  readonly properties: NonNullable<IPublishPacket["properties"]>;
  /** By the broker's clock, in ms. Infinity: never. */
  readonly publishedAt: number;
  readonly expiresAt: number;
}
