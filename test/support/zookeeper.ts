/**
 * Real ZooKeeper servers, from Debian's package: one, or an ensemble, on free loopback ports and folders of their own.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "./broker.ts";
import { killedAtExit } from "./children.ts";
import { startProxy, type TcpProxy } from "./proxy.ts";

export const zookeeperJar = "/usr/share/java/zookeeper.jar";
/** Besides what its manifest names: what Netty, which TLS needs, was split into. */
const classPath = [zookeeperJar, ...["codec", "resolver"].map((part) => `/usr/share/java/netty-${part}.jar`)].join(":");
/** The least keeper session timeout is two ticks. */
const tickMs = 500;

const answerPatienceMs = 3_000;
/** Servers that are given no time by the machine begin anew, again and again: seen for a minute at load 23. */
const readyPatienceMs = 180_000;

export interface ZooKeeperServer {
  readonly port: number;
  readonly address: string;
  /** The process id, or that of the command it runs within; it must have been started. */
  readonly pid: number;
  /** Sends one of ZooKeeper's four-letter commands; undefined if the server does not answer. */
  ask(command: string): Promise<string | undefined>;
  start(): void;
  kill(signal?: NodeJS.Signals): Promise<void>;
  signal(signal: NodeJS.Signals): void;
}

export interface Ensemble {
  /** The folder of all its files. */
  readonly root: string;
  readonly servers: readonly ZooKeeperServer[];
  /** For clients, without chroot. */
  readonly connect: string;
  leader(): Promise<ZooKeeperServer>;
  /** Cuts a server off from the other servers, not from its clients; only with `canBeParted`. */
  part(server: ZooKeeperServer): void;
  /** All servers reach each other again. */
  rejoin(): void;
  ready(): Promise<void>;
  stop(): Promise<void>;
}

export interface EnsembleOptions {
  /** More lines for the configuration file. */
  readonly config?: readonly string[];
  /** More properties for the Java machine. */
  readonly properties?: readonly string[];
  /** The servers reach each other through proxies, which can be cut. */
  readonly canBeParted?: boolean;
  /** A command before each start of a server, by its place and the folder of its files: a faulty disk, say. */
  readonly within?: (at: number, folder: string) => readonly string[];
}

type Ports = { readonly client: number; readonly peer: number; readonly election: number };

export async function startEnsemble(size: number, options: EnsembleOptions = {}): Promise<Ensemble> {
  const root = mkdtempSync(join(tmpdir(), "mqttzoo-zk-"));
  const ports: Ports[] = [];
  for (let id = 1; id <= size; id++) {
    ports.push({ client: await freePort(), peer: await freePort(), election: await freePort() });
  }
  const between = new Passages(options.canBeParted === true);
  const servers = ports.map(({ client }, at) => {
    const members = size === 1 ? [] : ports.map((own, to) => `server.${to + 1}=${between.address(at, to, own)}`);
    const folder = join(root, String(at + 1));
    mkdirSync(folder);
    writeFileSync(join(folder, "myid"), `${at + 1}\n`);
    const config = [
      `tickTime=${tickMs}`,
      "initLimit=20",
      "syncLimit=6",
      `dataDir=${folder}`,
      `clientPort=${client}`,
      "clientPortAddress=127.0.0.1",
      "admin.enableServer=false",
      "4lw.commands.whitelist=*",
      "maxClientCnxns=0",
      ...members,
      ...(options.config ?? []),
    ];
    const path = join(folder, "zoo.cfg");
    writeFileSync(path, `${config.join("\n")}\n`);
    const within = (): readonly string[] => options.within?.(at, folder) ?? [];
    return makeServer({ port: client, config: path, properties: options.properties ?? [], within });
  });
  for (const server of servers) server.start();
  const ensemble: Ensemble = {
    root,
    servers,
    connect: servers.map(({ address }) => address).join(","),
    async leader() {
      for (const server of servers)
        if (/Mode: (leader|standalone)/.test((await server.ask("srvr")) ?? "")) return server;
      throw new Error("the ensemble has no leader");
    },
    ready: () =>
      eventually(
        async () => {
          const answers = await Promise.all(servers.map((server) => server.ask("srvr")));
          return answers.every((answer) => answer?.includes("Mode: "));
        },
        "all ZooKeeper servers serve",
        readyPatienceMs,
      ),
    part: (server) => between.part(servers.indexOf(server)),
    rejoin: () => between.rejoin(),
    async stop() {
      await Promise.all(servers.map((server) => server.kill()));
      between.stop();
      rmSync(root, { recursive: true, force: true });
    },
  };
  await ensemble.ready().catch(async (error) => {
    await ensemble.stop();
    throw error;
  });
  return ensemble;
}

/** The ways from each server to each other one. */
class Passages {
  readonly #canBeParted: boolean;
  readonly #proxies: { readonly from: number; readonly to: number; readonly proxy: TcpProxy }[] = [];

  constructor(canBeParted: boolean) {
    this.#canBeParted = canBeParted;
  }

  /** Under which address one server finds another one, or itself. */
  address(from: number, to: number, { peer, election }: Ports): string {
    if (!this.#canBeParted || from === to) return `127.0.0.1:${peer}:${election}`;
    const through = [peer, election].map((port) => {
      const proxy = startProxy({ host: "127.0.0.1", port: 0 }, { host: "127.0.0.1", port });
      this.#proxies.push({ from, to, proxy });
      return proxy.port;
    });
    return `127.0.0.1:${through.join(":")}`;
  }

  part(server: number): void {
    if (!this.#canBeParted) throw new Error("this ensemble was started without canBeParted");
    for (const { from, to, proxy } of this.#proxies) if (from === server || to === server) proxy.cut("");
  }

  rejoin(): void {
    for (const { proxy } of this.#proxies) proxy.heal();
  }

  stop(): void {
    for (const { proxy } of this.#proxies) proxy.stop();
  }
}

interface ServerOptions {
  readonly port: number;
  /** The path of its configuration file. */
  readonly config: string;
  readonly properties: readonly string[];
  readonly within: () => readonly string[];
}

function makeServer({ port, config, properties, within }: ServerOptions): ZooKeeperServer {
  let child: Subprocess | undefined;
  const command = [
    "java",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dzookeeper.extendedTypesEnabled=true",
    "-Dzookeeper.snapCount=1000000",
    ...properties,
    "-cp",
    classPath,
    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
    config,
  ];
  return {
    port,
    address: `127.0.0.1:${port}`,
    get pid() {
      return child!.pid;
    },
    ask: (words) => fourLetters(port, words),
    start() {
      child = killedAtExit(Bun.spawn([...within(), ...command], { stdout: "ignore", stderr: "ignore" }));
    },
    async kill(signal = "SIGKILL") {
      child?.kill(signal);
      await child?.exited;
    },
    signal(signal) {
      child?.kill(signal);
    },
  };
}

function fourLetters(port: number, command: string): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  let answer = "";
  // A server that is just starting may take the question and never answer it; one on a busy machine takes its time.
  const giveUp = setTimeout(() => resolve(undefined), answerPatienceMs);
  Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: (socket) => void socket.write(command),
      data: (_, bytes) => {
        answer += Buffer.from(bytes).toString();
      },
      close: () => resolve(answer),
      error: () => resolve(undefined),
    },
  }).catch(() => resolve(undefined));
  return promise.finally(() => clearTimeout(giveUp));
}

let shared: Promise<Ensemble> | undefined;

/** One server for all tests that only need some ZooKeeper; it ends with the process. */
export function sharedZooKeeper(): Promise<Ensemble> {
  shared ??= startEnsemble(1).then((ensemble) => {
    // A test runner that is killed tells nobody: whoever reads from it notices, and ends the server.
    const script = `cat > /dev/null; rm -rf '${ensemble.root}'; pkill -9 -f '${ensemble.root}/'`;
    Bun.spawn(["sh", "-c", script], { stdin: "pipe", stdout: "ignore", stderr: "ignore" }).unref();
    return ensemble;
  });
  return shared;
}
