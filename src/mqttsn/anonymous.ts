/** The connection of all who publish without one (1.2, 6.8; PUBWOS of 2.0): at QoS 0, on topics that need no id. */
import { encodeUtf8 } from "../base/bytes.ts";
import { snUnreadMax } from "../base/sn-limits.ts";
import { isTopicName } from "../mqtt/topic.ts";
import { TopicKind } from "./constants.ts";
import { type InnerClient, InnerConnection, type InnerDoors } from "./inner-connection.ts";
import type { SnPublish } from "./message-kinds.ts";
import { connectPacket, publishPacket } from "./mqtt-packets.ts";
import type { PredefinedTopics } from "./predefined-topics.ts";
import { shortTopic } from "./requests.ts";
import type { SnMetrics } from "./sn-metrics.ts";

interface AnonymousDoors<Owner> extends InnerDoors<Owner> {
  readonly predefined: PredefinedTopics;
}

export class Anonymous<Owner> {
  readonly #user: string | undefined;
  readonly #doors: AnonymousDoors<Owner>;
  readonly #metrics: SnMetrics;
  #inner: InnerConnection<Owner> | undefined;

  /** `user`: as whom is published; undefined: nobody may. */
  constructor(user: string | undefined, doors: AnonymousDoors<Owner>, metrics: SnMetrics) {
    this.#user = user;
    this.#doors = doors;
    this.#metrics = metrics;
  }

  publish(message: SnPublish): void {
    const { retain, data } = message;
    const topic = this.#topicOf(message);
    if (this.#user === undefined || topic === undefined) {
      this.#metrics.refused++;
      return;
    }
    if (this.#inner?.isClosed !== false) this.#inner = this.#open(this.#user);
    if (this.#inner.waiting >= snUnreadMax) {
      this.#metrics.dropped++;
      return;
    }
    this.#inner.send(publishPacket({ topic, qos: 0, retain, dup: false, packetId: 0 }, data));
  }

  #topicOf({ topicKind, topicId, topic }: SnPublish): Uint8Array | undefined {
    if (topic !== undefined) return isTopicName(topic) ? encodeUtf8(topic) : undefined;
    if (topicKind === TopicKind.predefined) return this.#doors.predefined.topicOf("*", topicId)?.bytes;
    return topicKind === TopicKind.short ? shortTopic(topicId) : undefined;
  }

  #open(user: string): InnerConnection<Owner> {
    const nobody: InnerClient = { heard() {}, closed() {}, deviceState: "active" };
    const facts = { remote: "MQTT-SN without a connection", address: "", user };
    const inner = new InnerConnection(this.#doors, facts, nobody);
    inner.send(connectPacket({ clientId: "", clean: true, expiry: 0, will: undefined }));
    return inner;
  }
}
