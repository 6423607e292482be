/** The coordinator on a real ZooKeeper keeps the contract, on one server and on an ensemble of three. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { ZooKeeperCoordinator } from "../../src/zookeeper/zookeeper-coordinator.ts";
import { eventually } from "../support/broker.ts";
import { type Ensemble, sharedZooKeeper, startEnsemble } from "../support/zookeeper.ts";
import { coordinatorContract, type Store } from "./coordinator.ts";

let ensemble: Ensemble;
let roots = 0;
const onFatal = (error: Error): never => {
  throw error;
};
const open: ZooKeeperCoordinator[] = [];
beforeAll(async () => {
  ensemble = await startEnsemble(3);
}, 60_000);
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
        last = await ZooKeeperCoordinator.open({ connect, id: `id-${++ids}`, sessionTimeoutMs: 1000, onFatal });
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
        await eventually(async () => !(await lives()), "the session expires", 10_000);
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
    sessionTimeoutMs: 1000,
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
