/** The contract of every coordinator, told as ZooKeeper does it. Each implementation runs this suite. */
import { describe, expect, test } from "bun:test";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import type {
  Coordinator,
  CoordinatorError,
  CreateMode,
  ReadOperation,
  ReadResult,
  Repair,
  WatchEvent,
  WriteOperation,
  WriteResult,
} from "../../src/coordinator/coordinator.ts";
import { namesContract } from "./names.ts";

export interface Store {
  /** A new keeper session on the same tree. */
  connect(): Promise<Coordinator>;
  /** Ends all sessions as a crash of the client would, and waits until the store knows. */
  crash(): Promise<void>;
}

interface Written {
  readonly error: CoordinatorError | undefined;
  readonly results: readonly WriteResult[];
  readonly zxid: number;
}

export function write(coordinator: Coordinator, ...operations: WriteOperation[]): Promise<Written> {
  return new Promise((resolve) =>
    coordinator.write(operations, (error, results = [], zxid) => resolve({ error, results, zxid })),
  );
}

/** Writes when what was submitted before is under way: it is not sent together with that. */
async function writeBehind(coordinator: Coordinator, ...operations: WriteOperation[]): Promise<Written> {
  await undefined;
  return write(coordinator, ...operations);
}

export function read(coordinator: Coordinator, ...operations: ReadOperation[]): Promise<readonly ReadResult[]> {
  return new Promise((resolve) => coordinator.read(operations, (_, results) => resolve(results)));
}

export const create = (path: string, text = "", mode: CreateMode = "persistent"): WriteOperation => ({
  kind: "create",
  path,
  data: encodeUtf8(text),
  mode,
});
export const set = (path: string, text: string, version = -1): WriteOperation => ({
  kind: "set",
  path,
  data: encodeUtf8(text),
  version,
});
export const remove = (path: string, version = -1): WriteOperation => ({ kind: "delete", path, version });
export const check = (path: string, version: number): WriteOperation => ({ kind: "check", path, version });
const get = (path: string): ReadOperation => ({ kind: "get", path });

export async function codeOf(written: Promise<Written>): Promise<string | undefined> {
  return (await written).error?.code;
}

async function textOf(coordinator: Coordinator, path: string): Promise<string> {
  const [result] = await read(coordinator, get(path));
  return typeof result === "object" && "data" in result ? Buffer.from(result.data).toString() : String(result);
}

/** `open` gives an empty store of its own. */
export function coordinatorContract(name: string, open: () => Promise<Store>): void {
  const one = async (): Promise<Coordinator> => (await open()).connect();

  describe(`${name}: the coordinator's contract`, () => {
    namesContract(one);

    test("create, get, set, exists, delete", async () => {
      const coordinator = await one();
      const { results } = await write(coordinator, create("/a", "one"));
      expect(results[0]).toMatchObject({ version: 0 });
      expect(await textOf(coordinator, "/a")).toBe("one");
      expect((await write(coordinator, set("/a", "two"))).results[0]?.version).toBe(1);
      expect(await textOf(coordinator, "/a")).toBe("two");
      expect(await codeOf(write(coordinator, remove("/a")))).toBeUndefined();
      expect(await read(coordinator, get("/a"), { kind: "exists", path: "/a" })).toEqual(["NoNode", "NoNode"]);
    });

    test("what is refused, and with which code", async () => {
      const coordinator = await one();
      await write(coordinator, create("/a"));
      await write(coordinator, create("/a/b"));
      await write(coordinator, create("/e", "", "ephemeral"));
      expect(await codeOf(write(coordinator, create("/a")))).toBe("NodeExists");
      expect(await codeOf(write(coordinator, create("/x/y")))).toBe("NoNode");
      expect(await codeOf(write(coordinator, set("/x", "")))).toBe("NoNode");
      expect(await codeOf(write(coordinator, remove("/x")))).toBe("NoNode");
      expect(await codeOf(write(coordinator, remove("/a")))).toBe("NotEmpty");
      expect(await codeOf(write(coordinator, set("/a", "", 7)))).toBe("BadVersion");
      expect(await codeOf(write(coordinator, remove("/a/b", 7)))).toBe("BadVersion");
      expect(await codeOf(write(coordinator, check("/a", 7)))).toBe("BadVersion");
      expect(await codeOf(write(coordinator, create("/e/child")))).toBe("NoChildrenForEphemerals");
    });

    test("a multi happens whole or not at all, and says which part failed", async () => {
      const coordinator = await one();
      await write(coordinator, create("/a", "before"));
      const { error } = await write(coordinator, set("/a", "after"), create("/b"), create("/b/c"), check("/a", 9));
      expect(error).toMatchObject({ code: "BadVersion", index: 3, path: "/a" });
      expect(await textOf(coordinator, "/a")).toBe("before");
      expect(await textOf(coordinator, "/b")).toBe("NoNode");
      const { results } = await write(
        coordinator,
        check("/a", 0),
        set("/a", "after"),
        create("/b"),
        create("/b/c"),
        remove("/b/c"),
      );
      expect(results.map((result) => result.version)).toEqual([-1, 1, 0, 0, -1]);
      expect(results.map((result) => result.path)).toEqual(["/a", "/a", "/b", "/b/c", "/b/c"]);
      expect(await textOf(coordinator, "/a")).toBe("after");
    });

    test("submissions take effect and are answered in their order", async () => {
      const coordinator = await one();
      await write(coordinator, create("/n", "start"));
      const order: number[] = [];
      const all = Array.from({ length: 500 }, (_, index) =>
        write(coordinator, set("/n", String(index), index)).then(({ error }) =>
          order.push(error === undefined ? index : -1),
        ),
      );
      await Promise.all(all);
      expect(order).toEqual(Array.from({ length: 500 }, (_, index) => index));
      expect(await textOf(coordinator, "/n")).toBe("499");
    });

    test("a group in which one submission fails: the others happen, in their order", async () => {
      const coordinator = await one();
      await write(coordinator, create("/g"));
      const all = await Promise.all([
        write(coordinator, create("/g/1")),
        write(coordinator, create("/none/x"), create("/g/never")),
        write(coordinator, create("/g/1")),
        write(coordinator, set("/g/1", "last")),
        write(coordinator, remove("/g/1", 7)),
      ]);
      expect(all.map(({ error }) => error?.code)).toEqual([undefined, "NoNode", "NodeExists", undefined, "BadVersion"]);
      expect(await textOf(coordinator, "/g/1")).toBe("last");
      expect(await textOf(coordinator, "/g/never")).toBe("NoNode");
    });

    test("a check holds for each submission that brings it, also where several bring the same", async () => {
      const coordinator = await one();
      await write(coordinator, create("/guard"));
      const guarded = (path: string, version = -1): Promise<Written> =>
        write(coordinator, check("/guard", version), create(path));
      const written = await Promise.all([
        guarded("/a"),
        guarded("/b", 0),
        guarded("/c"),
        guarded("/a"),
        write(coordinator, set("/guard", "changed")),
        guarded("/d", 0),
        guarded("/e"),
        write(coordinator, remove("/guard")),
        guarded("/f"),
        write(coordinator, create("/guard")),
        guarded("/g"),
      ]);
      expect(written.map(({ error }) => error && `${error.code} ${error.path} ${error.index}`)).toEqual([
        undefined,
        undefined,
        undefined,
        "NodeExists /a 1",
        undefined,
        "BadVersion /guard 0",
        undefined,
        undefined,
        "NoNode /guard 0",
        undefined,
        undefined,
      ]);
      expect(written[2]!.results.map(({ path, version }) => [path, version])).toEqual([
        ["/guard", -1],
        ["/c", 0],
      ]);
    });

    test("what is repaired is tried at its place: before what was submitted after it", async () => {
      const coordinator = await one();
      await write(coordinator, create("/o"), create("/o/taken"));
      const done: string[] = [];
      const submit = (operation: WriteOperation, repair?: Repair): void =>
        coordinator.write([operation], (error) => done.push(error?.code ?? operation.path), repair);
      submit(create("/o/", "first", "sequential"));
      submit(create("/o/taken", "x"), (error) =>
        error?.code === "NodeExists" && error.path === "/o/taken" ? [create("/o/", "second", "sequential")] : undefined,
      );
      submit(create("/o/", "third", "sequential"), () => undefined);
      submit(remove("/none"), () => undefined);
      await writeBehind(coordinator, create("/o/", "fourth", "sequential"));
      const [result] = await read(coordinator, { kind: "children", path: "/o" });
      const names = [...(result as { children: readonly string[] }).children].filter((name) => name !== "taken").sort();
      const texts = await Promise.all(names.map((name) => textOf(coordinator, `/o/${name}`)));
      expect(texts).toEqual(["first", "second", "third", "fourth"]);
      expect(done).toEqual(["/o/", "/o/taken", "/o/", "NoNode"]);
    });

    test("sequential nodes are numbered in the order of their commits, also after deletions", async () => {
      const coordinator = await one();
      await write(coordinator, create("/q"));
      const first = await write(coordinator, create("/q/", "", "sequential"), create("/q/x-", "", "sequential"));
      const [a, b] = first.results.map(({ path }) => path);
      expect(a).toMatch(/^\/q\/\d{10}$/);
      expect(b).toMatch(/^\/q\/x-\d{10}$/);
      await write(coordinator, remove(a!), remove(b!));
      const later = (await write(coordinator, create("/q/", "y", "sequential"))).results[0]!.path;
      expect(later > a!).toBe(true);
      expect(await textOf(coordinator, later)).toBe("y");
      expect(await codeOf(write(coordinator, create("/none/", "", "sequential")))).toBe("NoNode");
    });

    test("children by name, and how many", async () => {
      const coordinator = await one();
      await write(coordinator, create("/p"), create("/p/b"), create("/p/a"), create("/p/a/below"));
      const [result] = await read(coordinator, { kind: "children", path: "/p" });
      expect([...(result as { children: readonly string[] }).children].sort()).toEqual(["a", "b"]);
      const [stat] = await read(coordinator, { kind: "exists", path: "/p" });
      expect((stat as { stat: { childCount: number } }).stat.childCount).toBe(2);
    });

    test("a read of nothing is answered in its turn, after the reads before it", async () => {
      const coordinator = await one();
      const order: string[] = [];
      await new Promise<void>((resolve) => {
        for (let index = 0; index < 50; index++)
          coordinator.read([{ kind: "get", path: "/none" }], () => void order.push(String(index)));
        coordinator.read([], () => {
          order.push("nothing");
          resolve();
        });
      });
      expect(order.length).toBe(51);
      expect(order.at(-1)).toBe("nothing");
    });

    test("each read of several fails for itself", async () => {
      const coordinator = await one();
      await write(coordinator, create("/r", "x"));
      const results = await read(coordinator, get("/none"), get("/r"));
      expect(results[0]).toBe("NoNode");
      expect(results[1]).toMatchObject({ stat: { version: 0 } });
    });

    test("binary and empty data, and names of many kinds", async () => {
      const coordinator = await one();
      const data = Uint8Array.from({ length: 256 }, (_, index) => index);
      await write(
        coordinator,
        { kind: "create", path: "/bin", data, mode: "persistent" },
        create("/empty"),
        create("/ä$+#%25 x"),
      );
      const results = await read(coordinator, get("/bin"), get("/empty"), get("/ä$+#%25 x"));
      expect((results[0] as { data: Uint8Array }).data).toEqual(data);
      expect((results[1] as { data: Uint8Array }).data.length).toBe(0);
      expect(typeof results[2]).toBe("object");
    });

    test("every node knows the transaction that made it; later ones are larger", async () => {
      const coordinator = await one();
      const first = await write(coordinator, create("/one"));
      const second = await write(coordinator, create("/two"));
      expect(second.zxid).toBeGreaterThan(first.zxid);
      const changed = await write(coordinator, set("/one", "x"));
      const results = await read(coordinator, get("/one"), get("/two"));
      expect(results[0]).toMatchObject({ stat: { czxid: first.zxid, mzxid: changed.zxid, version: 1 } });
      expect(results[1]).toMatchObject({ stat: { czxid: second.zxid, mzxid: second.zxid, version: 0 } });
      expect(coordinator.seenZxid).toBeGreaterThanOrEqual(changed.zxid);
    });

    test("after a sync the events of all earlier commits have been told", async () => {
      const coordinator = await one();
      await write(coordinator, create("/y"));
      const events: WatchEvent[] = [];
      coordinator.watch("/y", (event) => events.push(event));
      for (let index = 0; index < 20; index++) coordinator.write([create(`/y/${index}`)], () => {});
      await new Promise<void>((resolve) => coordinator.sync(resolve));
      expect(events.length).toBe(20);
      expect(coordinator.leaseUntil).toBeGreaterThan(performance.now());
    });

    test("ephemeral nodes end with their session, the rest stays", async () => {
      const store = await open();
      const first = await store.connect();
      await write(first, create("/stays", "x"), create("/goes", "", "ephemeral"));
      await new Promise<void>((resolve) => first.close(resolve));
      const second = await store.connect();
      expect(await textOf(second, "/stays")).toBe("x");
      expect(await textOf(second, "/goes")).toBe("NoNode");
      await write(second, create("/goes", "", "ephemeral"));
      await store.crash();
      const third = await store.connect();
      expect(await textOf(third, "/goes")).toBe("NoNode");
    });

    test("after close nothing is taken any more", async () => {
      const coordinator = await one();
      await new Promise<void>((resolve) => coordinator.close(resolve));
      expect(await codeOf(write(coordinator, create("/late")))).toBe("Closed");
    });

    test("a watch tells of everything at and below its path, once each, in order, until it ends", async () => {
      const coordinator = await one();
      await write(coordinator, create("/w"));
      const events: WatchEvent[] = [];
      const end = coordinator.watch("/w", (event) => events.push(event));
      await write(coordinator, create("/wrong"));
      await write(coordinator, create("/w/a"));
      await write(coordinator, set("/w/a", "x"), create("/w/a/b"));
      await write(coordinator, create("/w/never"), check("/w", 99));
      await write(coordinator, remove("/w/a/b"));
      const expected: WatchEvent[] = [
        { type: "created", path: "/w/a" },
        { type: "changed", path: "/w/a" },
        { type: "created", path: "/w/a/b" },
        { type: "deleted", path: "/w/a/b" },
      ];
      expect(events).toEqual(expected);
      end();
      await write(coordinator, remove("/w/a"));
      expect(events).toEqual(expected);
    });
  });
}
