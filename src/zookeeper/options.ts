/** The ZooKeeper client's options: how long, how much, with which credentials, and through which doors. */
import { setAlarm } from "../base/alarm.ts";
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { dialTcp } from "../net/tcp.ts";
import type { TlsOptions, Transport, TransportEvents } from "../net/transport.ts";
import type { Server } from "./connect-string.ts";

/** How the client reaches a server, and how it is woken at its deadlines: the simulation has doors of its own. */
export interface KeeperDoors {
  /** Rejects with `OperatingError`. */
  readonly dial: (
    server: Server,
    events: TransportEvents<Transport>,
    options: { readonly tls: TlsOptions | undefined },
  ) => Promise<Transport>;
  readonly setAlarm: typeof setAlarm;
}

export interface ZooKeeperOptions {
  /** Keeper session timeout to ask for, in ms. */
  readonly sessionTimeoutMs?: number;
  /** How long `connect` looks for a server, in ms. */
  readonly connectTimeoutMs?: number;
  /** The servers' jute.maxbuffer, in bytes. */
  readonly packetBytesMax?: number;
  readonly tls?: TlsOptions | undefined;
  /** `user:password` for the digest scheme: what is created then is closed to everybody else. */
  readonly credentials?: string | undefined;
  readonly clock?: Clock;
  readonly random?: Random;
  /** TCP and the system's timers unless set. */
  readonly doors?: KeeperDoors;
}

export const systemDoors: KeeperDoors = {
  dial: ({ host, port }, events, options) => dialTcp(host, port, events, options),
  setAlarm,
};
