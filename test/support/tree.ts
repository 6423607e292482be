/** A tree of znodes as plain data, to be compared with what another client sees of it. */
import type { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";

export interface Seen {
  /** In hexadecimal digits. */
  readonly data: string;
  readonly version: number;
  readonly ephemeral: boolean;
  readonly below: Record<string, Seen>;
}

/** Containers and nodes with a time to live have marks where ephemeral ones have their session. */
const containerMark = -(2n ** 63n);
const ttlMark = 0xffn << 56n;

export async function treeOf(zookeeper: ZooKeeper, path: string): Promise<Seen> {
  const { data, stat } = await zookeeper.get(path);
  const below: Record<string, Seen> = {};
  for (const name of (await zookeeper.children(path)).children.sort()) {
    below[name] = await treeOf(zookeeper, path === "/" ? `/${name}` : `${path}/${name}`);
  }
  const owner = stat.ephemeralOwner;
  const ephemeral = owner !== 0n && owner !== containerMark && (BigInt.asUintN(64, owner) & ttlMark) !== ttlMark;
  return { data: Buffer.from(data).toString("hex"), version: stat.version, ephemeral, below };
}
