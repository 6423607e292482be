/** Three brokers as processes on three ZooKeeper servers, with proxies where something can be cut. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { freePort, untilListening } from "../bench/brokers.ts";
import { executable } from "../support/process.ts";
import { startProxy, type TcpProxy } from "../support/proxy.ts";
import { type Ensemble, startEnsemble } from "../support/zookeeper.ts";

/** Keeper session timeout, in seconds. */
export const sessionTimeout = 2;

export interface BrokerSeat {
  readonly id: string;
  readonly port: number;
  /** Between the broker and ZooKeeper. */
  readonly keeperProxies: readonly TcpProxy[];
  /** Between the other brokers, which dial it, and itself. */
  readonly linkProxy: TcpProxy;
  start(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Ends it and waits until it has ended. */
  end(signal: NodeJS.Signals): Promise<void>;
}

export interface ClusterProcesses {
  readonly ensemble: Ensemble;
  readonly seats: readonly BrokerSeat[];
  stop(): Promise<void>;
}

export async function startClusterProcesses(
  ids: readonly string[],
  arguments_: readonly string[] = [],
): Promise<ClusterProcesses> {
  const ensemble = await startEnsemble(3);
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-chaos-"));
  const seats: BrokerSeat[] = [];
  for (const [index, id] of ids.entries()) seats.push(await takeSeat({ id, index, ensemble, folder, arguments_ }));
  for (const seat of seats) await seat.start();
  return {
    ensemble,
    seats,
    async stop() {
      await Promise.all(seats.map((seat) => seat.end("SIGKILL")));
      for (const { keeperProxies, linkProxy } of seats) for (const proxy of [...keeperProxies, linkProxy]) proxy.stop();
      await ensemble.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface SeatOptions {
  readonly id: string;
  readonly index: number;
  readonly ensemble: Ensemble;
  readonly folder: string;
  readonly arguments_: readonly string[];
}

async function takeSeat({ id, index, ensemble, folder, arguments_ }: SeatOptions): Promise<BrokerSeat> {
  const port = await freePort();
  const linkPort = await freePort();
  // The same port under another loopback address: the one that the others are told.
  const advertised = `127.0.1.${index + 1}`;
  const linkProxy = startProxy({ host: advertised, port: linkPort }, { host: "127.0.0.1", port: linkPort });
  const keeperProxies = ensemble.servers.map((server) =>
    startProxy({ host: "127.0.0.1", port: 0 }, { host: "127.0.0.1", port: server.port }),
  );
  const zk = `${keeperProxies.map((proxy) => `127.0.0.1:${proxy.port}`).join(",")}/chaos`;
  const command = [executable, "broker", "--host", "127.0.0.1", "--port", String(port), "--id", id, "--zk", zk];
  command.push("--link-host", "127.0.0.1", "--link-port", String(linkPort), "--advertise", advertised);
  // A time to live that chance draws may be over before an outage is: what is lost then is lost by right, and not looked for.
  command.push("--zk-session-timeout", String(sessionTimeout), "--drain-time", "2", "--bank-ttl", "max", ...arguments_);
  const log = process.env.MQTTZOO_CHAOS_LOG;
  let child: Subprocess | undefined;
  return {
    id,
    port,
    keeperProxies,
    linkProxy,
    async start() {
      const stderr = log === undefined ? "ignore" : Bun.file(join(log, `${id}-${Date.now()}.log`));
      child = Bun.spawn([...command, ...(log === undefined ? [] : ["--log-level", "debug"])], {
        stdout: "ignore",
        stderr,
        cwd: folder,
      });
      await untilListening(port);
    },
    signal(signal) {
      child?.kill(signal);
    },
    async end(signal) {
      child?.kill(signal);
      await child?.exited;
    },
  };
}
