/** The ZooKeeper client beside kazoo: both see the same tree, whoever made it, and are refused alike. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { type Seen, treeOf } from "../support/tree.ts";
import { sharedZooKeeper } from "../support/zookeeper.ts";

test("both sides see the same tree", async () => {
  const { connect } = await sharedZooKeeper();
  const chroot = `/kazoo-${process.pid}`;
  const zookeeper = await ZooKeeper.connect(`${connect}${chroot}`);
  await zookeeper.ensureChroot();
  await zookeeper.create("/from-here", encodeUtf8("ünïcode"));
  await zookeeper.create("/from-here/gone-with-me", encodeUtf8("x"), { mode: "ephemeral" });
  await zookeeper.create("/from-here/n-", encodeUtf8("y"), { mode: "persistentSequential" });
  await zookeeper.create("/from-here/container", encodeUtf8(""), { mode: "container" });
  await zookeeper.create("/from-here/short-lived", encodeUtf8("z"), { mode: "persistentWithTtl", ttl: 60_000 });
  const child = Bun.spawn(["/usr/bin/python3", join(import.meta.dir, "through_kazoo.py"), connect, chroot], {
    stderr: "inherit",
  });
  const { refusals, tree } = JSON.parse(await new Response(child.stdout).text()) as { refusals: string[]; tree: Seen };
  expect(refusals).toEqual(["RolledBackError", "NoNodeError"]);
  await expect(zookeeper.get("/guarded")).rejects.toMatchObject({ code: "NoAuth", outcomeUnknown: false });
  expect((await zookeeper.getAcl("/from-kazoo")).acl).toEqual([{ perms: 31, scheme: "world", id: "anyone" }]);
  zookeeper.addAuth("digest", "user:password");
  const seen = await treeOf(zookeeper, "/");
  expect(seen).toEqual(tree);
  expect(seen.below["from-kazoo"]).toMatchObject({ data: Buffer.from("changed").toString("hex"), version: 1 });
  expect(Object.keys(seen.below["from-here"]!.below)).toEqual([
    "container",
    "gone-with-me",
    "n-0000000001",
    "short-lived",
  ]);
  await zookeeper.close();
});

test("one-shot watches, and errors that say which operation failed", async () => {
  const { connect } = await sharedZooKeeper();
  const zookeeper = await ZooKeeper.connect(`${connect}/oneshot-${process.pid}`);
  await zookeeper.ensureChroot();
  const events: string[] = [];
  const note = ({ type, path }: { type: string; path: string }): void => void events.push(`${type} ${path}`);
  expect(await zookeeper.exists("/a", note)).toBeUndefined();
  await zookeeper.create("/a");
  await zookeeper.get("/a", note);
  await zookeeper.children("/a", note);
  await zookeeper.set("/a", encodeUtf8("1"));
  await zookeeper.set("/a", encodeUtf8("2"));
  await zookeeper.create("/a/b");
  await zookeeper.sync();
  expect(events).toEqual(["created /a", "changed /a", "childrenChanged /a"]);
  const multi = zookeeper.multi([
    { kind: "setData", path: "/a", data: encodeUtf8("3"), version: -1 },
    { kind: "check", path: "/a", version: 7 },
  ]);
  await expect(multi).rejects.toMatchObject({ code: "BadVersion", path: "/a", index: 1 });
  const tooLarge = zookeeper.set("/a", new Uint8Array(1100 * 1024));
  await expect(tooLarge).rejects.toMatchObject({ code: "PacketTooLarge" });
  await zookeeper.close();
});
