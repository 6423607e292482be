/** The format that brokers write: the newest that all who live read; and a tree that is too new for this executable. */
import { expect, test } from "bun:test";
import { takeSnapshot } from "../../src/audit/snapshot.ts";
import { encodeUtf8, noBytes } from "../../src/base/bytes.ts";
import { formats } from "../../src/base/formats.ts";
import { refuseCluster } from "../../src/broker/peers/tree-format.ts";
import type { Coordinator, WriteOperation } from "../../src/coordinator/coordinator.ts";
import { brokerPath, formatPath } from "../../src/coordinator/paths.ts";
import { formatOf } from "../../src/coordinator/tree-format.ts";
import type { KeeperClient } from "./keeper.ts";
import { World } from "./world.ts";

/** The record of a broker of format 1. */
const old = {
  version: "0.1.0",
  startedAt: "2026-01-01T00:00:00.000Z",
  host: "old",
  port: 1883,
  linkHost: "old",
  linkPort: 1884,
  mailDrops: [],
  serverReference: "none",
  draining: false,
};

async function inWorld<Result>(world: World, promise: Promise<Result>): Promise<Result> {
  let ended = false;
  const end = (): void => {
    ended = true;
  };
  promise.then(end, end);
  await world.pass(30_000, () => ended);
  return promise;
}

function write(world: World, store: Coordinator, operations: readonly WriteOperation[]): Promise<void> {
  return inWorld(
    world,
    new Promise((resolve, reject) => {
      store.write(operations, (error) => (error === undefined ? resolve() : reject(error)));
    }),
  );
}

function join(world: World, store: KeeperClient, id: string, facts: object): Promise<void> {
  const data = encodeUtf8(JSON.stringify(facts));
  return write(world, store, [{ kind: "create", path: brokerPath(id), data, mode: "ephemeral" }]);
}

const formatsIn = (world: World): (number | undefined)[] =>
  [...world.nodes.values()].map(({ broker }) => broker?.context.self.format);

test("the oldest live broker decides which format all write", async () => {
  const world = new World(1);
  for (const id of ["a", "b"]) await world.node(id).startIn(world);
  const store = world.keeper.connect();
  expect(await world.pass(5000, () => formatsIn(world).every((format) => format === formats.newest))).toBe(true);
  expect(await inWorld(world, formatOf(store))).toBe(formats.newest);

  await join(world, store, "old", old);
  expect(await world.pass(5000, () => formatsIn(world).every((format) => format === 1))).toBe(true);
  await world.pass(1000);
  expect(await inWorld(world, formatOf(store))).toBe(1);
  // One that comes while it is there, too.
  await world.node("c").startIn(world);
  expect(formatsIn(world)).toEqual([1, 1, 1]);

  await write(world, store, [{ kind: "delete", path: brokerPath("old"), version: -1 }]);
  expect(await world.pass(5000, () => formatsIn(world).every((format) => format === formats.newest))).toBe(true);
  await world.pass(1000);
  expect(await inWorld(world, formatOf(store))).toBe(formats.newest);
});

test("a newer broker does not change what is written", async () => {
  const world = new World(2);
  await world.node("a").startIn(world);
  await join(world, world.keeper.connect(), "new", { ...old, formats: { oldest: 2, newest: formats.newest + 7 } });
  await world.pass(1000);
  expect(formatsIn(world)).toEqual([formats.newest]);
});

test("what is no broker of ours below /brokers ends nobody, at a start either", async () => {
  const world = new World(3);
  await world.node("a").startIn(world);
  const store = world.keeper.connect();
  for (const [name, data] of [
    ["empty", noBytes],
    ["text", encodeUtf8("{")],
    ["number", encodeUtf8("7")],
    ["null", encodeUtf8("null")],
    ["other", encodeUtf8('{"linkHost":7}')],
    ["bytes", new Uint8Array([0xff, 0xfe])],
  ] as const)
    await write(world, store, [{ kind: "create", path: brokerPath(name), data, mode: "ephemeral" }]);
  await world.pass(1000);
  await world.node("b").startIn(world);
  await world.pass(1000);
  const peersOf = (id: string): string[] =>
    [...world.node(id).broker!.context.peers.values()].filter(({ isLinked }) => isLinked).map((peer) => peer.id);
  expect([peersOf("a"), peersOf("b")]).toEqual([["b"], ["a"]]);
  expect(formatsIn(world)).toEqual([formats.newest, formats.newest]);
});

test("a tree in a newer format is refused in words, unless who lives there can write what is read here", async () => {
  const world = new World(4);
  const store = world.keeper.connect();
  const newer = formats.newest + 1;
  await write(world, store, [
    { kind: "create", path: "/brokers", data: noBytes, mode: "persistent" },
    { kind: "create", path: formatPath, data: encodeUtf8(String(newer)), mode: "persistent" },
  ]);
  const words = `the tree is written in format ${newer}, and this executable reads 1 to ${formats.newest}: use a newer one`;
  await expect(inWorld(world, refuseCluster(store))).rejects.toThrow(words);
  await expect(inWorld(world, takeSnapshot(store, 0))).rejects.toThrow(words);
  await join(world, store, "strict", { ...old, formats: { oldest: newer, newest: newer } });
  await expect(inWorld(world, refuseCluster(store))).rejects.toThrow(words);
  await join(world, store, "able", { ...old, formats: { oldest: formats.newest, newest: newer } });
  await inWorld(world, refuseCluster(store));
});
