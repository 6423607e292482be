/** The ZooKeeper client beside the npm package `zookeeper` (the C client, under Node): both see the same tree. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { type Seen, treeOf } from "../support/tree.ts";
import { sharedZooKeeper } from "../support/zookeeper.ts";

interface Said {
  readonly version: number;
  readonly refusals: readonly number[];
  readonly acl: readonly { readonly perms: number; readonly scheme: string; readonly auth: string }[];
  readonly tree: Seen;
}

test("created in all modes, set, deleted, guarded: the same tree on both sides", async () => {
  const { connect } = await sharedZooKeeper();
  const root = `/addon-${process.pid}`;
  const zookeeper = await ZooKeeper.connect(`${connect}${root}`);
  await zookeeper.ensureChroot();
  await zookeeper.create("/from-here", encodeUtf8("ünïcode"));
  await zookeeper.create("/from-here/shared", encodeUtf8("x"));
  await zookeeper.create("/from-here/doomed");
  for (const mode of ["ephemeral", "ephemeralSequential", "persistentSequential", "container"] as const)
    await zookeeper.create(`/from-here/${mode}-`, encodeUtf8(mode), { mode });
  for (const mode of ["persistentWithTtl", "persistentSequentialWithTtl"] as const)
    await zookeeper.create(`/from-here/${mode}-`, encodeUtf8(mode), { mode, ttl: 60_000 });
  const acl = [{ perms: 31, scheme: "digest", id: "user:smGaoVKd/cQkjm7b88GyorAUz20=" }];
  const outside = await ZooKeeper.connect(connect);
  await outside.create(`${root}-guarded`, encodeUtf8("secret"), { acl });

  const child = Bun.spawn(["node", join(import.meta.dir, "through_addon.mjs"), connect, root], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  const { value } = await child.stdout.getReader().read();
  const said = JSON.parse(Buffer.from(value!).toString()) as Said;
  expect(said.version).toBe(1);
  // ZBADVERSION, ZNODEEXISTS, ZNOTEMPTY, ZNONODE, ZNOAUTH.
  expect(said.refusals).toEqual([-103, -110, -111, -101, -102]);
  expect(said.acl).toEqual([{ perms: 31, scheme: "world", auth: "anyone" }]);
  await zookeeper.sync();
  const seen = await treeOf(zookeeper, "/");
  expect(seen).toEqual(said.tree);
  expect(Object.keys(seen.below["from-addon"]!.below)).toEqual([
    "container",
    "e",
    "es-0000000002",
    "s-0000000000",
    "ttl",
    "ttls-0000000005",
  ]);
  expect(seen.below["from-here"]!.below.shared).toMatchObject({ version: 1 });
  expect(seen.below["from-here"]!.below.doomed).toBeUndefined();
  child.stdin.write("go\n");
  child.stdin.end();
  expect(await child.exited).toBe(0);
  await Promise.all([zookeeper.close(), outside.close()]);
});
