/** Steps that tests of the protocol take again and again, at a broker in the process, with clients of MQTT 5. */
import type { TestBroker } from "./broker.ts";
import { type AnyPacket, RawClient } from "./raw-client.ts";

/** Returns the steps at a broker, which is asked for when a step is taken. */
export function stepsAt(broker: () => TestBroker) {
  const connect = (options: AnyPacket = {}): Promise<RawClient> =>
    RawClient.connect(broker().port, { protocolVersion: 5, ...options });

  /** Publishes, at QoS 1 unless `more` says otherwise, and waits until that is settled. */
  async function publish(topic: string, payload: string, more: AnyPacket = {}): Promise<void> {
    const publisher = await connect();
    publisher.publish(topic, payload, { qos: 1, messageId: 1, ...more });
    await publisher.take(more.qos === 2 ? "pubrec" : "puback");
    publisher.disconnect();
  }

  /** Returns a condition: the client is not connected. */
  const isAway = (clientId: string) => (): boolean =>
    broker().server.broker.context.localSessions.get(clientId)?.connection === undefined;

  return { connect, publish, isAway };
}

/** The options of a connection whose session outlives it. */
export function lasting(clientId: string, more: AnyPacket = {}): AnyPacket {
  return { clientId, clean: false, ...more, properties: { sessionExpiryInterval: 1000, ...more.properties } };
}

/** The payloads of messages, as text. */
export function textsOf(packets: readonly AnyPacket[]): string[] {
  return packets.map(({ payload }) => payload.toString());
}
