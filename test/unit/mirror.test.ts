/** A mirror holds what its part of the tree holds, whatever happens while it is read, and after contact was lost. */
import { expect, test } from "bun:test";
import { decodeUtf8, encodeUtf8 } from "../../src/base/bytes.ts";
import { Mirror } from "../../src/coordinator/mirror.ts";
import type { SimulatedKeeper } from "../simulation/keeper.ts";
import { World } from "../simulation/world.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { settled } from "../support/room.ts";

test("what changes while it is read, and without contact, is in it at the end", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const world = new World(seed);
    const keeper: SimulatedKeeper = world.keeper;
    const writer = keeper.connect();
    const reader = keeper.connect();
    writer.write([{ kind: "create", path: "/root", data: encodeUtf8(""), mode: "persistent" }], () => {});
    let number = 0;
    // In every third world nothing changes any more once all has been read: what was missed then is not made good.
    let isQuiet = false;
    const names: string[] = [];
    const change = (): void => {
      const create = names.length < 3 || world.random.next() < 0.5;
      const path = create ? `/root/n${++number}` : names.splice(Math.floor(world.random.next() * names.length), 1)[0]!;
      if (create) names.push(path);
      writer.write(
        create
          ? [{ kind: "create", path, data: encodeUtf8(path), mode: "persistent" }]
          : [{ kind: "delete", path, version: -1 }],
        () => {},
      );
      if (world.now() < 1400 && !isQuiet) world.after(world.random.next() * 2, change);
    };
    change();
    await world.pass(20);
    const seen = new Map<string, string>();
    const mirror = new Mirror(reader, {
      root: "/root",
      concerns: () => true,
      needsData: () => true,
      apply: (path, node) =>
        typeof node === "object" ? void seen.set(path, decodeUtf8(node.data)) : void seen.delete(path),
    });
    void mirror.start().then(() => {
      isQuiet = seed % 3 === 0;
    });
    // Reading anew after lost contact would hide what the first reading has missed.
    if (seed % 2 === 0) world.after(150, () => reader.cut());
    world.after(250, () => reader.heal());
    await world.pass(1000);
    const inTree = [...keeper.tree.nodes.keys()].filter((path) => path.startsWith("/root/"));
    expect(inTree.length).toBeGreaterThan(0);
    expect([...seen.keys()].sort()).toEqual(inTree.sort());
    for (const [path, data] of seen) expect(data).toBe(path);
  }
});

test("what this broker writes while all is read anew is not taken for gone", async () => {
  const store = new MemoryStore();
  store.put("/root/known", "old");
  const seen = new Map<string, string>();
  const mirror = new Mirror(store, {
    root: "/root",
    concerns: () => true,
    needsData: () => true,
    apply: (path, node) =>
      typeof node === "object" ? void seen.set(path, decodeUtf8(node.data)) : void seen.delete(path),
  });
  await mirror.start();
  const tell = store.tree.onEvent;
  // Somebody removes it while there is no contact.
  store.tree.onEvent = () => {};
  store.remove("/root/known");
  store.answers = false;
  tell({ type: "missed", path: "/root" });
  store.answer(1);
  // The level above it has been read without it; now it is written here.
  store.put("/root/known", "new");
  mirror.note("/root/known");
  seen.set("/root/known", "new");
  for (let step = 0; step < 10; step++) {
    store.answer();
    await settled();
  }
  expect([...seen]).toEqual([["/root/known", "new"]]);
});
