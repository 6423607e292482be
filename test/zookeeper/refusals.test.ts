/**
 * Groups of which much is refused: what each submission comes to is the same as if it had been alone, and it costs few
 * commits.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { encodeUtf8, noBytes } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import type { CoordinatorErrorCode, Repair, WriteOperation } from "../../src/coordinator/coordinator.ts";
import { Journal } from "../../src/mail/journal.ts";
import { foundOf, nodesOf, repairAll } from "../../src/zookeeper/foresight.ts";
import type { Write } from "../../src/zookeeper/group.ts";
import { makeWrite } from "../../src/zookeeper/submissions.ts";
import { ZooKeeperCoordinator } from "../../src/zookeeper/zookeeper-coordinator.ts";
import { MemoryTree } from "../simulation/memory-tree.ts";
import { type Ensemble, startEnsemble } from "../support/zookeeper.ts";

const paths = ["/a", "/a/b", "/a/b/c", "/a/d", "/e", "/e/f"];
/** Paths that ZooKeeper refuses: some before it looks for anything, some after it has looked for the parent. */
const badPaths = ["/a/b\0", "/e/\0/x", "/a/\x01", "/e/\x01/x"];
const path = fc.constantFrom(...paths, ...paths, ...badPaths);
const version = fc.constantFrom(-1, 0, 1);
const operation: fc.Arbitrary<WriteOperation> = fc.oneof(
  path.map((path) => ({ kind: "create", path, data: noBytes, mode: "persistent" }) as const),
  path.map((path) => ({ kind: "create", path: `${path}/`, data: noBytes, mode: "sequential" }) as const),
  fc.tuple(path, version).map(([path, version]) => ({ kind: "set", path, data: noBytes, version }) as const),
  fc.tuple(path, version).map(([path, version]) => ({ kind: "delete", path, version }) as const),
  fc.tuple(path, version).map(([path, version]) => ({ kind: "check", path, version }) as const),
);
const unit = fc.tuple(fc.array(operation, { minLength: 1, maxLength: 4 }), fc.boolean());
const group = fc.array(unit, { minLength: 1, maxLength: 12 });

type Units = readonly (readonly [readonly WriteOperation[], boolean])[];

/**
 * Submissions that note what becomes of them; some leave out what is refused, as the journal does with what is gone.
 */
function submissionsOf(units: Units, outcomes: Map<number, CoordinatorErrorCode | "done">): Write[] {
  return units.map(([operations, isRepaired], number) => {
    let left = operations;
    const repair: Repair = (error) => {
      left = left.filter((_, at) => at !== error?.index);
      return left.length === 0 ? undefined : left;
    };
    return makeWrite(
      operations,
      (error) => outcomes.set(number, error?.code ?? "done"),
      isRepaired ? repair : undefined,
    );
  });
}

/** One after the other, each repaired in its place; returns how many were refused on the way. */
function applyAll(tree: MemoryTree, writes: readonly Write[]): number {
  let refusals = 0;
  for (const { operations, done, repair } of writes) {
    for (let current: readonly WriteOperation[] | undefined = operations; current !== undefined; ) {
      const results = tree.write(current, tree);
      if (!("code" in results)) {
        done(undefined, results, tree.zxid);
        break;
      }
      refusals++;
      const error = { code: results.code, index: results.index, path: "" } as Parameters<Repair>[0];
      const instead: readonly WriteOperation[] | undefined = repair?.(error);
      if (instead === undefined) done(error, undefined, 0);
      current = instead;
    }
  }
  return refusals;
}

function treeOf(seed: readonly string[]): MemoryTree {
  const tree = new MemoryTree();
  for (const path of paths)
    if (seed.includes(path)) tree.write([{ kind: "create", path, data: noBytes, mode: "persistent" }], tree);
  return tree;
}

const shapeOf = ({ nodes }: MemoryTree): string[] =>
  [...nodes].map(([path, { version }]) => `${path} ${version}`).sort();

test("what is repaired at a look comes to the same as what is refused one by one", () => {
  let refusedBefore = 0;
  let refusedAfter = 0;
  let looks = 0;
  fc.assert(
    fc.property(fc.subarray(paths), group, (seed, units) => {
      const [one, other] = [treeOf(seed), treeOf(seed)];
      const expected = new Map<number, CoordinatorErrorCode | "done">();
      refusedBefore += applyAll(one, submissionsOf(units, expected));
      const outcomes = new Map<number, CoordinatorErrorCode | "done">();
      let writes: readonly Write[] = submissionsOf(units, outcomes);
      while (writes.length > 0) {
        const entry = (path: string) => [path, foundOf(other.read({ kind: "exists", path }))] as const;
        const { now, later } = repairAll(writes, new Map([...nodesOf(writes)].map(entry)));
        expect(now.length).toBeGreaterThan(0);
        refusedAfter += applyAll(other, now);
        writes = later;
        looks++;
      }
      expect(shapeOf(other)).toEqual(shapeOf(one));
      expect(outcomes).toEqual(expected);
    }),
    { numRuns: 3000 },
  );
  expect(refusedAfter).toBe(0);
  expect(looks).toBeLessThan(refusedBefore / 2);
});

let ensemble: Ensemble;
const brokers: ZooKeeperCoordinator[] = [];
beforeAll(async () => {
  ensemble = await startEnsemble(1);
  for (const id of ["a", "b"]) {
    const onFatal = (error: Error): void => console.error(error.message);
    brokers.push(await ZooKeeperCoordinator.open({ connect: `${ensemble.connect}/refusals`, id, onFatal }));
  }
}, 120_000);
afterAll(async () => {
  for (const broker of brokers) broker.terminate();
  await ensemble?.stop();
});

test("brokers that remove the same five hundred messages, each twice, do not keep everything waiting", async () => {
  const journals = brokers.map((broker) => new Journal(broker, systemClock));
  const names = Array.from({ length: 500 }, (_, number) => `/topics/t/=${number}`);
  const create = { data: encodeUtf8("m"), mode: "persistent" } as const;
  const made = names.map(
    (path) =>
      new Promise<void>((done) =>
        journals[0]!.commit(
          [
            { kind: "create", path, ...create },
            { kind: "create", path: `${path}/left`, ...create },
          ],
          () => done(),
        ),
      ),
  );
  await Promise.all(made);
  const before = await zxidOf(brokers[0]!);
  const removed = [...journals, ...journals].flatMap((journal) =>
    names.map(
      (path) =>
        new Promise<void>((done) =>
          journal.commit(
            [
              { kind: "remove", path: `${path}/left` },
              { kind: "remove", path },
            ],
            () => done(),
          ),
        ),
    ),
  );
  await Promise.all(removed);
  // Refused or not, each attempt is a transaction of the ensemble.
  expect((await zxidOf(brokers[0]!)) - before).toBeLessThan(30);
}, 120_000);

function zxidOf(coordinator: ZooKeeperCoordinator): Promise<number> {
  return new Promise((resolve) => coordinator.write([], (_error, _results, zxid) => resolve(zxid)));
}
