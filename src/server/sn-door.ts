/** MQTT-SN's door: the UDP socket, with the gateway behind it that makes its clients clients of the broker. */
import { setAlarm } from "../base/alarm.ts";
import { systemClock } from "../base/clock.ts";
import { systemRandom } from "../base/random.ts";
import { snAdvertiseMs, snReceiveBufferBytes } from "../base/sn-limits.ts";
import { subjectOf } from "../base/turn-watch.ts";
import type { Broker } from "../broker/broker.ts";
import type { BrokerOptions } from "../broker/core/options.ts";
import type { Connection } from "../broker/delivery/connection.ts";
import type { Gateway } from "../mqttsn/gateway.ts";
import { PredefinedTopics } from "../mqttsn/predefined-topics.ts";
import { SnKeys } from "../mqttsn/protection.ts";
import type { TransportEvents } from "../net/transport.ts";
import { type Group, listenUdp, type UdpSocket } from "../net/udp.ts";
import { hostOf } from "./listeners.ts";
import type { OperatorFiles } from "./operator-files.ts";
import { gatewayOf } from "./sn-gateway.ts";

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
  const keys =
    options.snKeys === "" ? undefined : new SnKeys(systemRandom, options.snGatewayId, () => systemClock.wall());
  if (keys !== undefined) files.follow([options.snKeys], ([text]) => keys.load(text!));
  let socket: UdpSocket | undefined;
  const gateway = gatewayOf(options, {
    ...{ broker, events, predefined, keys, clock: systemClock, random: systemRandom },
    send: (...what) => socket?.send(...what),
    later: (go) => void setImmediate(go),
  });
  const group = options.snMulticast === "" ? undefined : groupOf(options.snMulticast);
  socket = await listenUdp({
    host: hostOf(options),
    port: options.snPort,
    receiveBufferBytes: snReceiveBufferBytes,
    group,
    received: (bytes, { address, port }) => gateway.receive(bytes, { address, port }),
    lost: () => void gateway.metrics.refused++,
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
