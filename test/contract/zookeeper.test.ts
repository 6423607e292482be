/** The coordinator on a real ZooKeeper keeps the contract, on one server and on an ensemble of three. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { encodeUtf8, noBytes } from "../../src/base/bytes.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { ZooKeeperCoordinator } from "../../src/zookeeper/zookeeper-coordinator.ts";
import { eventually } from "../support/broker.ts";
import { startProxy } from "../support/proxy.ts";
import { type Ensemble, sharedZooKeeper, startEnsemble } from "../support/zookeeper.ts";
import { coordinatorContract, read, type Store, write } from "./coordinator.ts";

let ensemble: Ensemble;
let roots = 0;
const onFatal = (error: Error): never => {
  throw error;
};
/** Longer than a busy machine keeps a session's owner from its heartbeats, and no longer than a test can wait. */
const sessionTimeoutMs = 4000;
const open: ZooKeeperCoordinator[] = [];
beforeAll(async () => {
  ensemble = await startEnsemble(3);
}, 120_000);
afterAll(async () => {
  for (const coordinator of open) coordinator.terminate();
  await ensemble.stop();
});

function storeOn(servers: () => Promise<string>): () => Promise<Store> {
  return async () => {
    const connect = `${await servers()}/contract-${++roots}`;
    let ids = 0;
    let last: ZooKeeperCoordinator;
    return {
      async connect() {
        last = await ZooKeeperCoordinator.open({ connect, id: `id-${++ids}`, sessionTimeoutMs, onFatal });
        open.push(last);
        return last;
      },
      async crash() {
        const { sessionId } = last.client;
        last.terminate();
        const witness = await ZooKeeper.connect(connect);
        const lives = async (): Promise<boolean> => {
          const { children } = await witness.children("/");
          const stats = await Promise.all(children.map((name) => witness.exists(`/${name}`)));
          return stats.some((stat) => stat?.ephemeralOwner === sessionId);
        };
        await eventually(async () => !(await lives()), "the session expires");
        await witness.close();
      },
    };
  };
}

coordinatorContract(
  "ZooKeeper, one server",
  storeOn(async () => (await sharedZooKeeper()).connect),
);
coordinatorContract(
  "ZooKeeper, an ensemble of three",
  storeOn(async () => ensemble.connect),
);

test("it tells the time of ZooKeeper's clock, between the moments of request and answer", async () => {
  const { connect: at } = await sharedZooKeeper();
  const id = "timed";
  const timed = await ZooKeeperCoordinator.open({
    connect: `${at}/contract-${++roots}`,
    id,
    sessionTimeoutMs,
    onFatal,
  });
  open.push(timed);
  expect(timed.storeTime).toBeUndefined();
  const [wall, now] = [Date.now(), performance.now()];
  const data = new Uint8Array(0);
  await new Promise<void>((done) =>
    timed.write([{ kind: "create", path: "/timed", data, mode: "persistent" }], () => done()),
  );
  const said = timed.storeTime!;
  expect(said.from).toBeGreaterThanOrEqual(now);
  expect(said.to).toBeGreaterThan(said.from);
  // Both run on this machine.
  expect(said.wall).toBeGreaterThanOrEqual(wall - 1);
  expect(said.wall).toBeLessThanOrEqual(wall + (said.to - now) + 2);
});

test("connections that are reset at any moment: each write happens once, in its order, and nobody is a rival of himself", async () => {
  const proxies = ensemble.servers.map(({ port }) =>
    startProxy({ host: "127.0.0.1", port: 0 }, { host: "127.0.0.1", port }),
  );
  const connect = `${proxies.map(({ port }) => `127.0.0.1:${port}`).join(",")}/resets-${++roots}`;
  const coordinator = await ZooKeeperCoordinator.open({ connect, id: "r", sessionTimeoutMs: 10_000, onFatal });
  open.push(coordinator);
  await write(coordinator, { kind: "create", path: "/log", data: noBytes, mode: "persistent" });
  const done: Promise<unknown>[] = [];
  for (let round = 0; round < 40; round++) {
    for (let index = 0; index < 5; index++) {
      const data = encodeUtf8(String(done.length));
      done.push(write(coordinator, { kind: "create", path: "/log/", data, mode: "sequential" }));
    }
    await Bun.sleep(Math.random() * 15);
    for (const proxy of proxies) proxy.reset();
  }
  await Promise.all(done);
  const [listed] = await read(coordinator, { kind: "children", path: "/log" });
  const names = [...(listed as { children: readonly string[] }).children].sort();
  const nodes = await read(coordinator, ...names.map((name) => ({ kind: "get", path: `/log/${name}` }) as const));
  const words = nodes.map((node) => Number(Buffer.from((node as { data: Uint8Array }).data).toString()));
  expect(words).toEqual(done.map((_, index) => index));
  for (const proxy of proxies) proxy.stop();
}, 120_000);
