/**
 * The simulated ensemble does what ZooKeeper does where it hurts: the wide world's faults are in it, not only in its
 * plan.
 */
import { expect, test } from "bun:test";
import { encodeUtf8, noBytes } from "../../src/base/bytes.ts";
import type { Coordinator, WriteOperation } from "../../src/coordinator/coordinator.ts";
import type { EnsembleOptions } from "./ensemble/ensemble.ts";
import { EnsembleLine, type Machine } from "./keeper-line.ts";
import { World } from "./world.ts";

async function makeEnsemble(options: Partial<EnsembleOptions> = {}) {
  const world = new World(1, { ensemble: options });
  const open = async (id: string) => {
    const machine: Machine = {
      id,
      local: (time) => time,
      now: () => world.now(),
      wall: () => world.now(),
      at: (time, run) => {
        // Not a moment before it, whatever an addition has lost.
        if (time !== Infinity) world.at(time + 1e-6, run);
      },
      guard: (run) => run,
      end: (error) => {
        throw error;
      },
    };
    const line = new EnsembleLine(world, machine);
    let coordinator: Coordinator | undefined;
    void line.open().then((opened) => {
      coordinator = opened;
    });
    await world.pass(10_000, () => coordinator !== undefined);
    return { line, coordinator: coordinator! };
  };
  return { world, ensemble: world.ensemble!, open };
}

const create = (path: string, mode: "persistent" | "ephemeral" = "persistent"): WriteOperation => ({
  kind: "create",
  path,
  data: noBytes,
  mode,
});

/** Writes, and notes the answers as they come. */
function write(
  coordinator: Coordinator,
  ...operations: WriteOperation[]
): { code: string | undefined; isDone: boolean } {
  const answer = { code: undefined as string | undefined, isDone: false };
  coordinator.write(operations, (error) => Object.assign(answer, { code: error?.code, isDone: true }));
  return answer;
}

function exists(coordinator: Coordinator, path: string): { found: boolean | undefined } {
  const answer = { found: undefined as boolean | undefined };
  coordinator.read([{ kind: "exists", path }], (_, [result]) => {
    answer.found = typeof result === "object";
  });
  return answer;
}

test("a session that owns more than one transaction can name is the end of the ensemble", async () => {
  const { world, ensemble, open } = await makeEnsemble({ transactionBytesMax: 1000 });
  const { line, coordinator } = await open("a");
  for (let number = 0; number < 50; number++) write(coordinator, create(`/${"long".repeat(5)}${number}`, "ephemeral"));
  await world.pass(1000);
  expect(ensemble.destroyed).toBeUndefined();
  line.cut("both");
  await world.pass(10_000);
  expect(ensemble.destroyed).toContain("ended a session");
});

test("what is read may be old, and is what everybody sees after a sync", async () => {
  const { world, ensemble, open } = await makeEnsemble();
  const [writer, reader] = [await open("a"), await open("b")];
  for (const server of ensemble.servers) server.lagMs = server === ensemble.leader ? 0 : 5000;
  const done = write(writer.coordinator, create("/new"));
  await world.pass(30_000, () => done.isDone);
  const states = ensemble.servers.map(({ tree }) => tree.nodes.has("/new"));
  expect(states).toContain(true);
  const early = exists(reader.coordinator, "/new");
  let late: { found: boolean | undefined } | undefined;
  reader.coordinator.sync(() => {
    late = exists(reader.coordinator, "/new");
  });
  await world.pass(30_000, () => late?.found !== undefined);
  expect([typeof early.found, late?.found]).toEqual(["boolean", true]);
});

test("what a leader has proposed alone is undone, and what was answered stays", async () => {
  const { world, ensemble, open } = await makeEnsemble();
  const { coordinator } = await open("a");
  const before = write(coordinator, create("/before"));
  await world.pass(1000);
  const alone = ensemble.leader!;
  alone.cutOff();
  const during = write(coordinator, create("/during"));
  await world.pass(60_000, () => during.isDone && ensemble.leader !== alone);
  alone.rejoin();
  await world.pass(2000);
  expect([before.isDone, before.code, during.isDone, during.code]).toEqual([true, undefined, true, undefined]);
  for (const { tree } of ensemble.servers) expect([...tree.nodes.keys()]).toContain("/during");
  // Done once, though it was asked more than once.
  expect(ensemble.head.nodes.get("/during")!.version).toBe(0);
});

test("a request that is larger than a server takes ends the connection, and nothing else", async () => {
  const { world, open } = await makeEnsemble({ packetBytesMax: 200_000 });
  const { coordinator } = await open("a");
  const states: string[] = [];
  coordinator.onState((state) => states.push(state));
  const large = write(coordinator, {
    kind: "create",
    path: "/large",
    data: encodeUtf8("x".repeat(300_000)),
    mode: "persistent",
  });
  const small = write(coordinator, create("/small"));
  await world.pass(20_000, () => small.isDone && large.isDone);
  expect([large.code, small.code]).toEqual(["TooLarge", undefined]);
});

test("what was not committed before contact was lost is its owner's to change; what was stays as it is", async () => {
  const { world, ensemble, open } = await makeEnsemble();
  const { line, coordinator } = await open("a");
  const asked: string[] = [];
  const submit = (path: string): void =>
    coordinator.write(
      [create(path)],
      (error) => asked.push(error?.code ?? `${path} is done`),
      (error) => {
        asked.push(`${path} ${error?.code ?? "again"}`);
        return path === "/kept" ? undefined : [create(`${path}-late`)];
      },
    );
  // It takes effect, and contact is lost before its answer comes.
  line.loseNextAnswer(300);
  submit("/committed");
  await world.pass(0.01);
  submit("/changed");
  submit("/kept");
  await world.pass(20_000, () => asked.length === 5);
  expect(asked).toEqual(["/changed again", "/kept again", "/committed is done", "/changed is done", "/kept is done"]);
  const paths = [...ensemble.head.nodes.keys()].filter((path) => /^.(committed|changed|kept)/.test(path));
  expect(paths).toEqual(["/committed", "/changed-late", "/kept"]);
});
