/** Three brokers as processes on three ZooKeeper servers, with proxies where something can be cut. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../bench/brokers.ts";
import { executable } from "../support/process.ts";
import { startProxy, type TcpProxy } from "../support/proxy.ts";
import { type Ensemble, type EnsembleOptions, startEnsemble } from "../support/zookeeper.ts";

import { type BrokerProcess, makeBrokerProcess } from "./broker-process.ts";

/** Keeper session timeout, in seconds. */
export const sessionTimeout = 2;

export interface BrokerSeat extends BrokerProcess {
  /** Between the broker and ZooKeeper. */
  readonly keeperProxies: readonly TcpProxy[];
  /** Between the other brokers, which dial it, and itself. */
  readonly linkProxy: TcpProxy;
}

export interface ClusterProcesses {
  readonly ensemble: Ensemble;
  readonly seats: readonly BrokerSeat[];
  /** Everything that is wrong with how brokers have ended, and what they have said. */
  wrong(): string[];
  stop(): Promise<void>;
}

export interface ClusterOptions {
  /** More arguments of each broker, which may depend on the executable that it is. */
  readonly arguments?: readonly string[] | ((executable: string) => readonly string[]);
  readonly ensemble?: EnsembleOptions;
  /** The executable that the brokers are at first; this project's unless set. */
  readonly executable?: string;
  /** More variables for the environment of each broker. */
  readonly environment?: (id: string) => Record<string, string>;
  /**
   * True if nothing will be cut: brokers reach each other and ZooKeeper without the proxies. Those live in the test's
   * process, and on a busy machine all links are silent for seconds whenever it has no time for them.
   */
  readonly isDirect?: boolean;
}

export async function startClusterProcesses(
  ids: readonly string[],
  options: ClusterOptions = {},
): Promise<ClusterProcesses> {
  const ensemble = await startEnsemble(3, options.ensemble);
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-chaos-"));
  const seats: BrokerSeat[] = [];
  const more = options.arguments ?? [];
  const argumentsOf = typeof more === "function" ? more : (): readonly string[] => more;
  for (const [index, id] of ids.entries()) {
    const environment = options.environment?.(id) ?? {};
    const program = options.executable ?? executable;
    const isDirect = options.isDirect === true;
    seats.push(
      await takeSeat({ id, index, ensemble, folder, arguments_: argumentsOf, environment, program, isDirect }),
    );
  }
  for (const seat of seats) await seat.start();
  return {
    ensemble,
    seats,
    wrong: () => seats.flatMap((seat) => seat.wrong()),
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
  readonly arguments_: (executable: string) => readonly string[];
  readonly environment: Record<string, string>;
  readonly program: string;
  readonly isDirect: boolean;
}

async function takeSeat(options: SeatOptions): Promise<BrokerSeat> {
  const { id, index, ensemble, folder, arguments_, environment, isDirect } = options;
  const port = await freePort();
  const linkPort = await freePort();
  // The same port under another loopback address: the one that the others are told.
  const advertised = `127.0.1.${index + 1}`;
  const linkProxy = startProxy({ host: advertised, port: linkPort }, { host: "127.0.0.1", port: linkPort });
  const keeperProxies = ensemble.servers.map((server) =>
    startProxy({ host: "127.0.0.1", port: 0 }, { host: "127.0.0.1", port: server.port }),
  );
  const servers = isDirect ? ensemble.connect : keeperProxies.map(({ port }) => `127.0.0.1:${port}`).join(",");
  const zk = `${servers}/chaos`;
  const command = ["broker", "--host", "127.0.0.1", "--port", String(port), "--id", id, "--zk", zk];
  command.push("--link-host", "127.0.0.1", "--link-port", String(linkPort));
  command.push("--advertise", isDirect ? "127.0.0.1" : advertised);
  command.push("--zk-session-timeout", String(sessionTimeout), "--drain-time", "2");
  const seat = makeBrokerProcess({
    ...{ id, port, folder, program: options.program, environment },
    arguments_: (executable) => [...command, ...arguments_(executable)],
  });
  return Object.assign(seat, { keeperProxies, linkProxy });
}
