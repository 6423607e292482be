/** Brokers of one cluster as processes, on a ZooKeeper server of their own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { type Ensemble, startEnsemble } from "../support/zookeeper.ts";
import { freePort, untilListening } from "./brokers.ts";

export interface ClusterBroker {
  readonly id: string;
  readonly port: number;
  readonly pid: number;
}

export interface BenchCluster {
  readonly ensemble: Ensemble;
  readonly brokers: readonly ClusterBroker[];
  /** Starts one more; resolves when it takes clients. */
  add(): Promise<ClusterBroker>;
  /** ZooKeeper's transactions so far. */
  transactions(): Promise<number>;
  stop(): Promise<void>;
}

const executable = join(import.meta.dir, "../../dist/mqttzoo");

export async function startBenchCluster(
  size: number,
  servers = 1,
  flags: readonly string[] = [],
): Promise<BenchCluster> {
  // The server compiles as a server does; the tests' one starts faster instead.
  const ensemble = await startEnsemble(servers, { properties: ["-XX:TieredStopAtLevel=4", "-Xmx1g"] });
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-bench-"));
  const children: Subprocess[] = [];
  const brokers: ClusterBroker[] = [];
  const cluster: BenchCluster = {
    ensemble,
    brokers,
    async add() {
      const [port, linkPort] = [await freePort(), await freePort()];
      const id = `b${brokers.length + 1}`;
      const command = [executable, "broker", "--host", "127.0.0.1", "--port", String(port), "--id", id];
      command.push("--zk", `${ensemble.connect}/bench`, "--link-host", "127.0.0.1", "--link-port", String(linkPort));
      command.push("--advertise", "127.0.0.1", "--log-level", "error", ...flags);
      const child = Bun.spawn(command, { stdout: "ignore", stderr: "inherit", cwd: folder });
      await untilListening(port);
      children.push(child);
      const broker = { id, port, pid: child.pid };
      brokers.push(broker);
      return broker;
    },
    async transactions() {
      const said = (await (await ensemble.leader()).ask("srvr")) ?? "";
      // The lower half counts within one leader's time.
      return Number(BigInt(/Zxid: (0x[0-9a-f]+)/.exec(said)![1]!) & 0xffff_ffffn);
    },
    async stop() {
      for (const child of children) child.kill("SIGKILL");
      await Promise.all(children.map((child) => child.exited));
      await ensemble.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  for (let index = 0; index < size; index++) await cluster.add();
  return cluster;
}
