/**
 * The clients of a load over MQTT-SN. They acknowledge what they are sent themselves, and have more requests under way
 * at once than the standard allows a device: one client is to stand for many.
 */
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { snRequestsMax } from "../../src/base/sn-limits.ts";
import type { Message } from "../../src/client/connection-options.ts";
import type { Place } from "../../src/client/dial.ts";
import { connectSn, type SnConnection } from "../../src/client/sn-connection.ts";
import { clientIdOf, type Plan } from "../../src/load/plan.ts";
import type { DialLoad, InFlight, LoadConnection } from "../../src/load/worker.ts";
import { Publish, topicOf } from "../../src/mqtt/publish.ts";

/** Returns the way to make the connections of a load. */
export function dialSn(plan: Plan, places: readonly Place[]): DialLoad {
  return async (kind, index, events) => {
    const { host, port } = places[index % places.length]!;
    const lines: LoadConnection[] = [];
    const connection = await connectSn({
      ...{ host, port, clientId: clientIdOf(plan, kind, index), clean: plan.clean, keepAlive: plan.keepAlive },
      window: snRequestsMax,
      onMessage: (message) => events.onPublish(publishOf(message), lines[0]!),
      onClose: events.onClose,
    });
    let next: InFlight | undefined;
    lines.push(
      lineOf(connection, (publish) => {
        const inFlight = next;
        next = undefined;
        connection.put(publicationOf(publish), (reason) => {
          if (inFlight !== undefined) events.onSettled(inFlight, reason);
        });
      }),
    );
    const add = (inFlight: InFlight): number => {
      next = inFlight;
      // The connection numbers its messages itself.
      return 0;
    };
    return { connection: lines[0]!, add };
  };
}

function lineOf(connection: SnConnection, write: (publish: Publish) => void): LoadConnection {
  return {
    sink: undefined,
    get unsent() {
      return connection.unsent;
    },
    get whyClosed() {
      return connection.whyClosed;
    },
    write,
    subscribe: (filters, options) => connection.subscribe(filters, options),
    disconnect: () => connection.disconnect(),
  };
}

function publicationOf(publish: Publish) {
  const { qos, retain, payloadBytes, payloadStart, payloadEnd } = publish;
  // It is written anew for the next message while this one waits.
  return { topic: topicOf(publish), qos, retain, payload: payloadBytes.slice(payloadStart, payloadEnd) };
}

function publishOf({ topic, payload, qos, retain, packetId }: Message): Publish {
  const publish = new Publish();
  publish.qos = qos;
  publish.retain = retain;
  publish.packetId = packetId;
  publish.topicBytes = encodeUtf8(topic);
  publish.topicEnd = publish.topicBytes.length;
  publish.payloadBytes = payload;
  publish.payloadEnd = payload.length;
  return publish;
}
