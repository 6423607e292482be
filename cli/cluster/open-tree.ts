/** Opens the tree for tools: on ZooKeeper, or in the data folder of a broker that runs alone. */
import type { Snapshot, WeighedSnapshot } from "../../src/audit/audit.ts";
import { takeSnapshot, takeWeighed } from "../../src/audit/snapshot.ts";
import { assert } from "../../src/base/assert.ts";
import { systemClock } from "../../src/base/clock.ts";
import { OperatingError } from "../../src/base/errors.ts";
import type { Coordinator } from "../../src/coordinator/coordinator.ts";
import { read, type Store } from "../../src/coordinator/mirror.ts";
import { bankPath } from "../../src/coordinator/paths.ts";
import { hasData } from "../../src/coordinator/read-results.ts";
import { refuseNewer } from "../../src/coordinator/tree-format.ts";
import { EmbeddedCoordinator } from "../../src/embedded/embedded-coordinator.ts";
import { openReader } from "../../src/embedded/reader.ts";
import { quietReader, type RecordReader } from "../../src/mail/record-reader.ts";
import { type KeeperFiles, readKeeperFiles } from "../../src/server/operator-files.ts";
import { dialControl } from "../../src/server/tool-socket.ts";
import { ZooKeeperError } from "../../src/zookeeper/codes.ts";
import { PlainStore } from "../../src/zookeeper/plain-store.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";

/** The place of a tree: ZooKeeper servers, or the data folder of a broker that runs alone. */
export interface TreePlace extends KeeperFiles {
  readonly zk?: string;
  readonly data?: string;
}

/** An open tree. */
export interface Tree extends Store, Pick<Coordinator, "write"> {
  /** The damage to the store itself, each in words; ZooKeeper looks after its own. */
  damage(): readonly string[];
  close(): Promise<void>;
}

/**
 * Opens the tree. Throws `OperatingError`. `how` "write": a broker that runs on the folder does it, for only it may
 * write there.
 */
export async function openTree({ zk, data, ...files }: TreePlace, how: "read" | "write"): Promise<Tree> {
  if (zk !== undefined) {
    const zookeeper = await connectKeeper(zk, files);
    const store = new PlainStore(zookeeper);
    await checkRights(store, zk).catch((error) => zookeeper.close().then(() => Promise.reject(error)));
    return {
      read: (operations, done) => store.read(operations, done),
      write: (operations, done) => store.write(operations, done),
      damage: () => [],
      close: () => zookeeper.close(),
    };
  }
  const folder = data ?? "mqttzoo-data";
  if (how === "read") {
    const { read, walk, verify } = openReader(folder);
    const write = (): void => assert(false, "the tree was opened for reading");
    return { read, walk, write, damage: () => verify()?.findings ?? [], close: () => Promise.resolve() };
  }
  const control = await dialControl(folder);
  if (control !== undefined) return { ...control, damage: () => [], close: () => Promise.resolve(control.close()) };
  const store = await EmbeddedCoordinator.open(folder).catch((error: OperatingError) => {
    if (error.code !== "EBUSY") throw error;
    throw new OperatingError("EBUSY", `a broker is using ${folder} and cannot be asked: end it first`);
  });
  return {
    read: (operations, done) => store.read(operations, done),
    write: (operations, done) => store.write(operations, done),
    damage: () => [],
    close: () => new Promise((resolve) => store.close(resolve)),
  };
}

/** Throws `OperatingError` if the tree may not be read: what may not be read looks like what is not there. */
async function checkRights(store: PlainStore, zk: string): Promise<void> {
  const [bank] = await read(store, [{ kind: "get", path: bankPath }]);
  if (bank === "NoAuth")
    throw new OperatingError("ENOAUTH", `the tree at ${zk} is closed to us: give the brokers' --zk-auth-file`);
}

function connectKeeper(zk: string, files: KeeperFiles): Promise<ZooKeeper> {
  return ZooKeeper.connect(zk.includes("/") ? zk : `${zk}/mqttzoo`, readKeeperFiles(files));
}

/** Reads what ZooKeeper knows of a cluster, `what` in words. Rejects with `OperatingError`. */
export async function withCluster<Result>(
  { zk, what, ...files }: KeeperFiles & { readonly zk: string; readonly what: string },
  use: (zookeeper: ZooKeeper) => Promise<Result>,
): Promise<Result> {
  const zookeeper = await connectKeeper(zk, files);
  try {
    return await use(zookeeper);
  } catch (error) {
    if (!(error instanceof ZooKeeperError)) throw error;
    const why = error.code === "NoNode" ? "there is no cluster at this chroot" : error.message;
    throw new OperatingError("EZOOKEEPER", `cannot read the ${what} at ${zk}: ${why}`);
  } finally {
    await zookeeper.close();
  }
}

/** Opens the tree, uses it, and closes it. Rejects with `OperatingError`. */
export async function withTree<Result>(
  where: TreePlace,
  how: "read" | "write",
  use: (tree: Tree) => Promise<Result>,
): Promise<Result> {
  const tree = await openTree(where, how);
  try {
    return await use(tree);
  } finally {
    await tree.close();
  }
}

/** Takes a snapshot of the bank. Rejects with `OperatingError` if there is no bank. */
export async function snapshotOf(tree: Tree): Promise<Snapshot> {
  return ofBank(await takeSnapshot(tree, systemClock.wall()));
}

/** Takes a snapshot of the bank for an audit. Rejects with `OperatingError` if there is no bank. */
export async function weighedSnapshotOf(tree: Tree): Promise<WeighedSnapshot> {
  return ofBank(await takeWeighed(tree, systemClock.wall()));
}

/** Returns a tree as it is walked over; strangers are left out. Rejects with `OperatingError` if there is no bank. */
export async function walkedOf(tree: Tree): Promise<{ readonly store: Tree; readonly reader: RecordReader }> {
  await refuseNewer(tree);
  const [bank] = await read(tree, [{ kind: "get", path: bankPath }]);
  if (!hasData(bank)) throw noBank();
  return { store: tree, reader: quietReader };
}

function noBank(): OperatingError {
  return new OperatingError("EBANK", "there is no bank here: no broker has been started on it yet");
}

function ofBank<Taken extends Snapshot>(taken: Taken | undefined): Taken {
  if (taken === undefined) throw noBank();
  return taken;
}
