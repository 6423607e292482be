/** Real ZooKeeper servers, from Debian's package: one, or an ensemble, on free loopback ports and folders of their own. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "./broker.ts";

export const zookeeperJar = "/usr/share/java/zookeeper.jar";
/** Besides what its manifest names: what Netty, which TLS needs, was split into. */
const classPath = [zookeeperJar, ...["codec", "resolver"].map((part) => `/usr/share/java/netty-${part}.jar`)].join(":");
/** The least keeper session timeout is two ticks. */
const tickMs = 500;

export interface ZooKeeperServer {
  readonly port: number;
  readonly address: string;
  /** What one of ZooKeeper's four-letter commands says; undefined if the server does not answer. */
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
  ready(): Promise<void>;
  stop(): Promise<void>;
}

export interface EnsembleOptions {
  /** More lines for the configuration file. */
  readonly config?: readonly string[];
  /** More properties for the Java machine. */
  readonly properties?: readonly string[];
}

export async function startEnsemble(size: number, options: EnsembleOptions = {}): Promise<Ensemble> {
  const root = mkdtempSync(join(tmpdir(), "mqttzoo-zk-"));
  const ports: { client: number; peer: number; election: number }[] = [];
  for (let id = 1; id <= size; id++) {
    ports.push({ client: await freePort(), peer: await freePort(), election: await freePort() });
  }
  const members =
    size === 1 ? [] : ports.map(({ peer, election }, at) => `server.${at + 1}=127.0.0.1:${peer}:${election}`);
  const servers = ports.map(({ client }, at) => {
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
    return makeServer(client, path, options.properties ?? []);
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
        60_000,
      ),
    async stop() {
      await Promise.all(servers.map((server) => server.kill()));
      rmSync(root, { recursive: true, force: true });
    },
  };
  await ensemble.ready();
  return ensemble;
}

function makeServer(port: number, config: string, properties: readonly string[]): ZooKeeperServer {
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
    ask: (words) => fourLetters(port, words),
    start() {
      child = Bun.spawn(command, { stdout: "ignore", stderr: "ignore" });
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
  // A server that is just starting may take the question and never answer it.
  const giveUp = setTimeout(() => resolve(undefined), 1000);
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
    // The test runner tells nobody when it ends: whoever reads from it notices, and ends the server.
    const script = `cat > /dev/null; rm -rf '${ensemble.root}'; pkill -9 -f '${ensemble.root}/'`;
    Bun.spawn(["sh", "-c", script], { stdin: "pipe", stdout: "ignore", stderr: "ignore" }).unref();
    return ensemble;
  });
  return shared;
}
