/** MQTT-SN's door: the UDP socket, with the gateway behind it that makes its clients clients of the broker. */
import { setAlarm } from "../base/alarm.ts";
import { systemClock } from "../base/clock.ts";
import { logTextMax } from "../base/limits.ts";
import { LineLimit, standingFor } from "../base/line-limit.ts";
import { systemRandom } from "../base/random.ts";
import { snAdvertiseMs, snReceiveBufferBytes } from "../base/sn-limits.ts";
import { subjectOf } from "../base/turn-watch.ts";
import type { Broker } from "../broker/broker.ts";
import type { BrokerOptions } from "../broker/core/options.ts";
import type { Connection } from "../broker/delivery/connection.ts";
import { Gateway } from "../mqttsn/gateway.ts";
import { PredefinedTopics } from "../mqttsn/predefined-topics.ts";
import { SnKeys } from "../mqttsn/protection.ts";
import type { TransportEvents } from "../net/transport.ts";
import { type Group, listenUdp, type UdpSocket } from "../net/udp.ts";
import { hostOf } from "./listeners.ts";
import type { OperatorFiles } from "./operator-files.ts";

/** The door, open. */
export interface SnDoor {
  readonly port: number;
  readonly gateway: Gateway<Connection>;
  close(): void;
}

interface Surroundings {
  readonly broker: Broker;
  readonly files: OperatorFiles;
  readonly events: TransportEvents<Connection>;
}

/** The subject of turns in which timers of MQTT-SN are due. */
const others = subjectOf("what was due with clients of MQTT-SN");

/** Opens the door; undefined: there is no port for it. Rejects with `OperatingError`. */
export async function openSnDoor(
  options: BrokerOptions,
  { broker, files, events }: Surroundings,
): Promise<SnDoor | undefined> {
  if (options.snPort === -1) return undefined;
  const { log } = broker.context;
  const predefined = new PredefinedTopics();
  if (options.snTopics !== "") files.follow([options.snTopics], ([text]) => predefined.load(text!));
  const keys = options.snKeys === "" ? undefined : new SnKeys(systemRandom, options.snGatewayId);
  if (keys !== undefined) files.follow([options.snKeys], ([text]) => keys.load(text!));
  let socket: UdpSocket | undefined;
  const gateway = gatewayOf(options, { broker, events, predefined, keys, send: (...what) => socket?.send(...what) });
  const group = options.snMulticast === "" ? undefined : groupOf(options.snMulticast);
  socket = await listenUdp({
    host: hostOf(options),
    port: options.snPort,
    receiveBufferBytes: snReceiveBufferBytes,
    group,
    received: (bytes, { address, port }) => gateway.receive(bytes, { address, port }),
    failed: (why) => log.warn({ why }, "the socket of MQTT-SN"),
  });
  const { turns, slices } = broker.context;
  const tick = (): void => {
    const startedAt = systemClock.now();
    // Thousands may count as lost at once.
    gateway.tick(startedAt, () => slices.isOver(startedAt));
  };
  const alarm = setAlarm(
    {
      nextDeadline: () => gateway.nextDeadline(),
      tick: () => turns.run(others, tick),
    },
    systemClock,
  );
  gateway.onSooner(() => alarm.wake());
  const { send, close, port } = socket;
  const beat = group && advertise((bytes) => send(bytes, group.port, group.address), gateway);
  return {
    port,
    gateway,
    close() {
      beat?.stop();
      alarm.stop();
      close();
    },
  };
}

interface Given {
  readonly broker: Broker;
  readonly events: TransportEvents<Connection>;
  readonly predefined: PredefinedTopics;
  readonly keys: SnKeys | undefined;
  readonly send: UdpSocket["send"];
}

function gatewayOf(options: BrokerOptions, { broker, events, predefined, keys, send }: Given): Gateway<Connection> {
  const { log, localSessions, remoteSessions } = broker.context;
  const lines = new LineLimit<"large">();
  const { snGatewayId, snUser, snPublishAnonymous, snRetry, snMtu, sn2 } = options;
  return new Gateway(
    {
      gatewayId: snGatewayId,
      user: snUser === "" ? undefined : snUser,
      anonymousUser: snPublishAnonymous === "" ? undefined : snPublishAnonymous,
      retryMs: snRetry,
      datagramBytesMax: snMtu,
      takes2: sn2,
    },
    {
      events,
      predefined,
      keys,
      send,
      clock: systemClock,
      random: systemRandom,
      later: (go) => void setImmediate(go),
      mailWaits: ({ client, writer }) =>
        client !== undefined && (writer.unsent > 0 || client.feedsPending > 0 || client.mailbox?.isIdle === false),
      knows: (clientId) => localSessions.has(clientId) || remoteSessions.has(clientId),
      tooLarge({ clientId, remote, topic, size }) {
        const stands = lines.take("large", systemClock.now(), clientId);
        if (stands === 0) return;
        const facts = { client: clientId.slice(0, logTextMax), remote, topic: topic.slice(0, logTextMax), size };
        log.warn(facts, standingFor(`a message needs a datagram larger than --sn-mtu ${snMtu}: it is refused`, stands));
      },
    },
  );
}

/** Advertises the broker to the group, now and every so often. */
function advertise(send: (bytes: Uint8Array) => void, gateway: Gateway<Connection>): { stop(): void } {
  let at = systemClock.now();
  const tick = (): void => {
    send(gateway.advertisement(snAdvertiseMs / 1000));
    at = systemClock.now() + snAdvertiseMs;
  };
  return setAlarm({ nextDeadline: () => at, tick }, systemClock);
}

function groupOf(text: string): Group {
  const [address = "", port] = text.split(":");
  return { address, port: Number(port) };
}
