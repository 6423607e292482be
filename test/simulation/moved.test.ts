/**
 * The order of messages to a client that has moved to a broker which does not hear the one that it came from: the
 * mailbox there may lack what that one has stored for it since.
 */
import { expect, test } from "bun:test";
import type { ZooKeeperCoordinator } from "../../src/zookeeper/zookeeper-coordinator.ts";
import type { BrokerNode } from "./broker-node.ts";
import { Device } from "./device.ts";
import type { KeeperServer } from "./ensemble/server.ts";
import { World } from "./world.ts";

const lasting = { clean: false, properties: { sessionExpiryInterval: 1000 } };

/** Has the keeper's server to which a broker speaks lag behind: the broker hears late of what others store. */
function lag({ ensemble }: World, { broker }: BrokerNode): void {
  const { client } = broker!.context.coordinator as ZooKeeperCoordinator;
  const serves = ({ connections }: KeeperServer): boolean =>
    [...connections].some(({ session }) => session === client.sessionId);
  ensemble!.servers.find(serves)!.lagMs = 8000;
}

/** Calls back when the reader's record is proposed, and when it is committed: before anything that comes later. */
function onRecord(world: World, proposed: () => void, committed: () => void): void {
  const ensemble = world.ensemble!;
  const wait = (index: number): void => {
    if (ensemble.committed >= index) committed();
    else world.after(0.05, () => wait(index));
  };
  let isOver = false;
  ensemble.onProposed.push(({ parts }) => {
    const isRecord = parts.some(({ operation }) => /\/sessions\/..\/reader$/.test(operation?.path ?? ""));
    if (!isRecord || isOver) return;
    isOver = true;
    proposed();
    wait(ensemble.log.length);
  });
}

function payloads(device: Device): string[] {
  return device.packets.filter(({ cmd }) => cmd === "publish").map(({ payload }) => payload.toString());
}

/** A reader at `b` and a publisher at `c`; `a` and `b` do not hear each other. */
async function makeWorld() {
  // A seed by whose chance the brokers speak to servers of their own: what lags at one must not lag at the others.
  const world = new World(8, { bankCapital: 1_000_000, ensemble: {} });
  for (const id of ["a", "b", "c"]) await world.node(id).startIn(world);
  const [a, b, c] = [world.node("a"), world.node("b"), world.node("c")];
  const reader = await Device.connect(world, "b", { clientId: "reader", ...lasting });
  await reader.subscribe("t", { qos: 1 });
  const publisher = await Device.connect(world, "c");
  // So `b` cannot say that it has let its client go, and another one takes it without that.
  a.cutFrom.add("b");
  await world.pass(10_000, () => !b.broker!.context.peers.get("a")!.isLinked);
  const remote = c.broker!.context.remoteSessions.get("reader")!;
  return { world, a, b, c, reader, publisher, remote };
}

/** Publishes when the reader has moved to `a`, which hears of what the store has only later. */
async function publishSecond({ world, a, c, publisher, remote }: Awaited<ReturnType<typeof makeWorld>>) {
  expect(await world.pass(5000, () => remote.host?.id === "a" && remote.host.isLinked)).toBe(true);
  publisher.publish("t", "second", { qos: 1, messageId: 2 });
  await world.pass(1000);
  // Otherwise this shows nothing.
  expect(a.broker!.context.coordinator.seenZxid).toBeLessThan(c.broker!.context.coordinator.seenZxid);
}

test("what its former broker has stored for a client is not overtaken over the link to its new one", async () => {
  const made = await makeWorld();
  const { world, a, publisher } = made;
  // `b` is sent this for the client, which does not acknowledge it there.
  const publish = (): void => publisher.publish("t", "first", { qos: 1, messageId: 1 });
  onRecord(world, publish, () => lag(world, a));
  const late = await Device.connect(world, "a", { clientId: "reader", ...lasting });
  await publisher.take("puback");
  await publishSecond(made);
  await world.pass(20_000, () => payloads(late).length > 1);
  expect(payloads(late)).toEqual(["first", "second"]);
});

test("... nor where that one has settled it before it has heard that its client has moved", async () => {
  const made = await makeWorld();
  const { world, a, b, c, reader, publisher, remote } = made;
  // From now on `b` stores what comes on this topic without looking around before.
  publisher.publish("t", "zeroth", { qos: 1, messageId: 9 });
  await publisher.take("puback");
  reader.send({ cmd: "puback", messageId: (await reader.take("publish")).messageId });
  await world.pass(100);
  const { journal } = b.broker!.context;
  const commit = journal.commit.bind(journal);
  let store = (): void => {};
  journal.commit = (...unit) => {
    if (!unit[0].some(({ path }) => path.startsWith("/topics/t/"))) return commit(...unit);
    store = () => commit(...unit);
  };
  publisher.publish("t", "first", { qos: 1, messageId: 1 });
  onRecord(
    world,
    () => {},
    () => {
      lag(world, a);
      c.deafTo.add("a");
      store();
    },
  );
  const late = await Device.connect(world, "a", { clientId: "reader", ...lasting });
  expect(await world.pass(5000, () => remote.underWay === 0)).toBe(true);
  c.deafTo.clear();
  await publishSecond(made);
  await world.pass(20_000, () => payloads(late).length > 1);
  expect(payloads(late)).toEqual(["first", "second"]);
});
