/** Brokers of one cluster in this process, on a real ZooKeeper. */
import { createLog, silentLog } from "../../src/base/log.ts";
import { type BrokerOptions, defaultOptions } from "../../src/broker/core/options.ts";
import { type Server, startServer } from "../../src/server/server.ts";
import { eventually } from "./broker.ts";
import { sharedZooKeeper } from "./zookeeper.ts";

export interface Cluster {
  readonly brokers: readonly Server[];
  /** With chroot. */
  readonly zk: string;
  port(index: number): number;
  add(id: string, more?: Partial<BrokerOptions>): Promise<Server>;
  stop(): Promise<void>;
}

let clusters = 0;
const log = process.env.MQTTZOO_TEST_LOG === undefined ? silentLog : createLog({ level: "debug", format: "text" });

export async function startCluster(ids: readonly string[], options: Partial<BrokerOptions> = {}): Promise<Cluster> {
  const zk = options.zk ?? `${(await sharedZooKeeper()).connect}/cluster-${process.pid}-${++clusters}`;
  const brokers: Server[] = [];
  const add = async (id: string, more: Partial<BrokerOptions> = {}): Promise<Server> => {
    const all = {
      ...defaultOptions,
      host: "127.0.0.1",
      port: 0,
      linkHost: "127.0.0.1",
      linkPort: 0,
      advertise: "127.0.0.1",
      // Brokers, clients and tests share one thread: none of them is dead when the machine is busy.
      zkSessionTimeout: 8,
      drainTime: 0,
      ...options,
      zk,
      ...more,
      id,
    };
    const server = await startServer(all, log);
    brokers.push(server);
    return server;
  };
  for (const id of ids) await add(id);
  await eventually(() => brokers.every(({ broker }) => linked(broker) === ids.length - 1), "all brokers are linked");
  return {
    brokers,
    zk,
    port: (index) => brokers[index]!.port,
    add,
    async stop() {
      await Promise.all(brokers.map((server) => server.stop()));
    },
  };
}

/** How many others a broker is linked to. */
export function linked({ context }: Server["broker"]): number {
  return [...context.peers.values()].filter(({ isLinked }) => isLinked).length;
}
