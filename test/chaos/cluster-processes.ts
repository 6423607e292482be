/**
 * Three brokers as processes on three ZooKeeper servers, with proxies where something can be cut. How each broker ends,
 * and what it says, is judged: none may end unless it is told to, or say what only a bug of ours would.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { freePort, untilListening } from "../bench/brokers.ts";
import { executable } from "../support/process.ts";
import { startProxy, type TcpProxy } from "../support/proxy.ts";
import { type Ensemble, type EnsembleOptions, startEnsemble } from "../support/zookeeper.ts";

/** Keeper session timeout, in seconds. */
export const sessionTimeout = 2;

export interface BrokerSeat {
  readonly id: string;
  readonly port: number;
  readonly pid: number;
  /** Between the broker and ZooKeeper. */
  readonly keeperProxies: readonly TcpProxy[];
  /** Between the other brokers, which dial it, and itself. */
  readonly linkProxy: TcpProxy;
  /** Starts it; `another`: that executable, from now on. */
  start(another?: string): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Ends it and waits until it has ended. */
  end(signal: NodeJS.Signals): Promise<void>;
  /** Everything that is wrong with how its processes have ended, and what they have said. */
  wrong(): string[];
}

/** Words that a broker says only when our code has failed: a stack, or an invariant that does not hold. */
const wordsOfBugs = /^\s+at .+:\d+:\d+|assertion failed|\b(?:Type|Range|Reference|Syntax)Error\b|Unhandled|panic/m;

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
    seats.push(await takeSeat({ id, index, ensemble, folder, arguments_: argumentsOf, environment, program }));
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
}

async function takeSeat(options: SeatOptions): Promise<BrokerSeat> {
  const { id, index, ensemble, folder, arguments_, environment } = options;
  const port = await freePort();
  const linkPort = await freePort();
  // The same port under another loopback address: the one that the others are told.
  const advertised = `127.0.1.${index + 1}`;
  const linkProxy = startProxy({ host: advertised, port: linkPort }, { host: "127.0.0.1", port: linkPort });
  const keeperProxies = ensemble.servers.map((server) =>
    startProxy({ host: "127.0.0.1", port: 0 }, { host: "127.0.0.1", port: server.port }),
  );
  const zk = `${keeperProxies.map((proxy) => `127.0.0.1:${proxy.port}`).join(",")}/chaos`;
  const command = ["broker", "--host", "127.0.0.1", "--port", String(port), "--id", id, "--zk", zk];
  command.push("--link-host", "127.0.0.1", "--link-port", String(linkPort), "--advertise", advertised);
  command.push("--zk-session-timeout", String(sessionTimeout), "--drain-time", "2");
  const log = process.env.MQTTZOO_CHAOS_LOG;
  const words: string[] = [];
  const badEnds: string[] = [];
  let child: Subprocess | undefined;
  let program = options.program;
  /** The signal by which it was told to end, if it was. */
  let told: NodeJS.Signals | undefined;
  return {
    id,
    port,
    keeperProxies,
    linkProxy,
    get pid() {
      return child!.pid;
    },
    async start(another) {
      program = another ?? program;
      const path = join(log ?? folder, `${id}-${words.length}.log`);
      words.push(path);
      const verbosely = log === undefined ? [] : ["--log-level", "debug"];
      const started = Bun.spawn([program, ...command, ...arguments_(program), ...verbosely], {
        stdout: "ignore",
        stderr: Bun.file(path),
        cwd: folder,
        env: { ...process.env, ...environment },
      });
      child = started;
      told = undefined;
      void started.exited.then((code) => {
        if (child !== started) return;
        const how = started.signalCode ?? code;
        if (told === undefined) badEnds.push(`broker ${id} has ended by itself: ${how}`);
        else if (told === "SIGTERM" && how !== 0) badEnds.push(`broker ${id} was told to end, and ended with ${how}`);
      });
      await untilListening(port);
    },
    signal(signal) {
      child?.kill(signal);
    },
    async end(signal) {
      told = signal;
      child?.kill(signal);
      await child?.exited;
    },
    wrong() {
      const said = words.flatMap((path) => {
        const found = existsSync(path) ? wordsOfBugs.exec(readFileSync(path, "utf8")) : null;
        return found === null
          ? []
          : [`broker ${id} says in ${path}: ${found.input.slice(found.index, found.index + 300)}`];
      });
      return [...badEnds, ...said];
    },
  };
}
