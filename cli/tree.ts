/** Where a tool finds the tree: on ZooKeeper, or in the data folder of a broker that runs alone. */
import { OperatingError } from "../src/base/errors.ts";
import type { Coordinator } from "../src/coordinator/coordinator.ts";
import { EmbeddedCoordinator } from "../src/embedded/embedded-coordinator.ts";
import { openReader } from "../src/embedded/reader.ts";
import { PlainStore } from "../src/zookeeper/plain-store.ts";
import { ZooKeeper } from "../src/zookeeper/zookeeper.ts";

export interface Where {
  readonly zk?: string;
  readonly data?: string;
}

export interface Tree extends Pick<Coordinator, "read" | "write"> {
  close(): Promise<void>;
}

/** Opens the tree. Throws `OperatingError`. `how` "write": a running broker's folder is refused, for only it may write there. */
export async function openTree({ zk, data }: Where, how: "read" | "write"): Promise<Tree> {
  if (zk !== undefined) {
    const zookeeper = await ZooKeeper.connect(zk.includes("/") ? zk : `${zk}/mqttzoo`);
    const store = new PlainStore(zookeeper);
    return {
      read: (operations, done) => store.read(operations, done),
      write: (operations, done) => store.write(operations, done),
      close: () => zookeeper.close(),
    };
  }
  const folder = data ?? "mqttzoo-data";
  if (how === "read") {
    const { read } = openReader(folder);
    const write = (): never => {
      throw new Error("assertion failed: the tree was opened for reading");
    };
    return { read, write, close: () => Promise.resolve() };
  }
  const store = await EmbeddedCoordinator.open(folder).catch((error: OperatingError) => {
    if (error.code !== "EBUSY") throw error;
    throw new OperatingError("EBUSY", `a broker is using ${folder}: end it first, for only it may write there`);
  });
  return {
    read: (operations, done) => store.read(operations, done),
    write: (operations, done) => store.write(operations, done),
    close: () => new Promise((resolve) => store.close(resolve)),
  };
}
