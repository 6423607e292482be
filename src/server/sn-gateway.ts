/** The gateway of MQTT-SN as a broker has it: who sleeps with mail, and whom the broker knows. */
import type { Clock } from "../base/clock.ts";
import { logTextMax } from "../base/limits.ts";
import { LineLimit, standingFor } from "../base/line-limit.ts";
import type { Random } from "../base/random.ts";
import type { Broker } from "../broker/broker.ts";
import type { BrokerOptions } from "../broker/core/options.ts";
import type { Connection } from "../broker/delivery/connection.ts";
import { Gateway } from "../mqttsn/gateway.ts";
import type { SendDatagram } from "../mqttsn/peer.ts";
import type { PredefinedTopics } from "../mqttsn/predefined-topics.ts";
import type { SnKeys } from "../mqttsn/protection.ts";
import type { TransportEvents } from "../net/transport.ts";
import { StoredCounters } from "./sn-counters.ts";

/** The broker, the operator's files, and the process. */
interface Given {
  readonly broker: Broker;
  readonly events: TransportEvents<Connection>;
  readonly predefined: PredefinedTopics;
  readonly keys: SnKeys | undefined;
  readonly send: SendDatagram;
  readonly clock: Pick<Clock, "now">;
  readonly random: Random;
  /** Calls back in a later turn of the event loop. */
  readonly later: (go: () => void) => void;
}

/** Returns the gateway of a broker. */
export function gatewayOf(options: BrokerOptions, given: Given): Gateway<Connection> {
  const { broker, clock, ...doors } = given;
  const { log, localSessions, remoteSessions, coordinator } = broker.context;
  const lines = new LineLimit<"large">();
  const strange = (path: string): void =>
    log.error(
      { path },
      "no counter of MQTT-SN stands there: its sender is not heard; remove the znode, and start the broker again",
    );
  const { snGatewayId, snUser, snPublishAnonymous, snRetry, snMtu, sn2, snFixedAddresses } = options;
  return new Gateway(
    {
      gatewayId: snGatewayId,
      user: snUser === "" ? undefined : snUser,
      anonymousUser: snPublishAnonymous === "" ? undefined : snPublishAnonymous,
      retryMs: snRetry,
      datagramBytesMax: snMtu,
      takes2: sn2,
      fixesAddresses: snFixedAddresses,
    },
    {
      ...doors,
      clock,
      counters: new StoredCounters(coordinator, strange),
      mailWaits: ({ client, writer }) =>
        client !== undefined && (writer.unsent > 0 || client.feedsPending > 0 || client.mailbox?.isIdle === false),
      knows: (clientId) => localSessions.has(clientId) || remoteSessions.has(clientId),
      tooLarge({ clientId, remote, topic, size }) {
        const stands = lines.take("large", clock.now(), clientId);
        if (stands === 0) return;
        const facts = { client: clientId.slice(0, logTextMax), remote, topic: topic.slice(0, logTextMax), size };
        log.warn(facts, standingFor(`a message needs a datagram larger than --sn-mtu ${snMtu}: it is refused`, stands));
      },
    },
  );
}
