/** Names in the tree: every store takes those that ZooKeeper takes, and refuses the others in the same words. */
import { expect, test } from "bun:test";
import type { Coordinator } from "../../src/coordinator/coordinator.ts";
import { decodeName, encodeName, isEncoded } from "../../src/coordinator/paths.ts";
import { isValidPath } from "../../src/coordinator/valid-path.ts";
import { check, codeOf, create, read, remove, set, write } from "./coordinator.ts";

export function namesContract(one: () => Promise<Coordinator>): void {
  test("paths that ZooKeeper refuses are refused, and no others", async () => {
    const coordinator = await one();
    await write(coordinator, create("/p"));
    const seed = Number(process.env.MQTTZOO_NAMES_SEED ?? Math.floor(Math.random() * 2 ** 31));
    for (const name of randomNames(seed, 250)) {
      const path = `/p/${name}`;
      const parent = path.slice(0, path.lastIndexOf("/"));
      const isEarly = path.includes("\0");
      const wrong = isEarly
        ? "InvalidPath"
        : parent !== "/p"
          ? "NoNode"
          : isValidPath(path)
            ? undefined
            : "InvalidPath";
      const text = `${JSON.stringify(path)} (MQTTZOO_NAMES_SEED=${seed})`;
      expect([text, await codeOf(write(coordinator, create(path)))]).toEqual([text, wrong]);
      const other = isValidPath(path) ? (wrong ?? undefined) : "InvalidPath";
      expect([text, await codeOf(write(coordinator, set(path, "x")))]).toEqual([text, other]);
      expect([text, await codeOf(write(coordinator, check(path, 1)))]).toEqual([text, other]);
      const gone = isEarly ? "InvalidPath" : wrong === undefined ? undefined : "NoNode";
      expect([text, await codeOf(write(coordinator, remove(path)))]).toEqual([text, gone]);
      const numbered = parent !== "/p" ? "NoNode" : isValidPath(`${path}0`) ? undefined : "InvalidPath";
      expect([text, await codeOf(write(coordinator, create(path, "", "sequential")))]).toEqual([
        text,
        isEarly ? "InvalidPath" : numbered,
      ]);
    }
  }, 180_000);

  test("what is a name in the tree is one in every store, whatever it was encoded from", async () => {
    const coordinator = await one();
    await write(coordinator, create("/n"));
    const seed = Number(process.env.MQTTZOO_NAMES_SEED ?? Math.floor(Math.random() * 2 ** 31));
    const levels = new Set(randomNames(seed, 300).map((name) => name.toWellFormed()));
    for (const level of levels) {
      const text = `${JSON.stringify(level)} (MQTTZOO_NAMES_SEED=${seed})`;
      const path = `/n/${encodeName(level)}`;
      expect([text, await codeOf(write(coordinator, create(path)))]).toEqual([text, undefined]);
      expect([text, decodeName(encodeName(level))]).toEqual([text, level]);
      expect([text, isEncoded(encodeName(level))]).toEqual([text, true]);
    }
    const [found] = await read(coordinator, { kind: "children", path: "/n" });
    const names = (found as { children: readonly string[] }).children;
    expect(new Set(names.map(decodeName))).toEqual(levels);
  }, 180_000);
}

/** Units at the edges of what is forbidden, alone and beside others; unpaired surrogates too. */
function randomNames(seed: number, count: number): string[] {
  const edges = [
    0, 1, 0x1f, 0x20, 0x2e, 0x2f, 0x25, 0x40, 0x7e, 0x7f, 0x80, 0x9f, 0xa0, 0x2028, 0xd7ff, 0xd800, 0xdbff,
  ];
  edges.push(
    0xdc00,
    0xdfff,
    0xe000,
    0xf8ff,
    0xf900,
    0xfeff,
    0xffef,
    0xfff0,
    0xfffd,
    0xffff,
    0x10000,
    0x1f600,
    0x10ffff,
  );
  let state = seed;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  return Array.from({ length: count }, () =>
    Array.from({ length: next(5) }, () => {
      const kind = next(4);
      if (kind === 0) return String.fromCodePoint(next(0x110000));
      return kind === 1 ? ".a/%"[next(4)] : String.fromCodePoint(edges[next(edges.length)]!);
    }).join(""),
  );
}
