/**
 * Shared subscriptions: members of all kinds come and go over three brokers, whose banks are rich or poor, while
 * brokers die and are cut off (MQTTZOO_GROUP_SEEDS sets how many seeds, MQTTZOO_GROUP_SEED the first).
 */
import { expect, test } from "bun:test";
import { encodeUtf8, noBytes } from "../../src/base/bytes.ts";
import type { WriteOperation } from "../../src/coordinator/coordinator.ts";
import { encodeMessage, encodeSlip, groupMarkOf } from "../../src/mail/records.ts";
import { makePublish } from "../../src/mqtt/publish.ts";
import { PublishingActor } from "./actors.ts";
import { creditLooksMax, creditsStillLost, leftovers, overdrawn, unsettled } from "./checkers.ts";
import { Device } from "./device.ts";
import { TimedHistory } from "./groups.ts";
import { GroupMember, type MemberKind } from "./members.ts";
import { expectRight, seedsOf, simulationLog } from "./seeds.ts";
import { World } from "./world.ts";

const seeds = seedsOf("GROUP_", 40);

const healMs = 40_000;
/** A message goes to a member, and to another one now and then: not from broker to broker for ever. */
const forwardsPerMessageMax = 12;

/**
 * In a third of all worlds all sessions outlive everything: there QoS 2 arrives exactly once. In another some end with
 * their connections: what they have been sent dies with their broker, so no broker dies there.
 */
const kinds: readonly (readonly MemberKind[])[] = [
  ["lasting", "lasting", "lasting"],
  ["lasting", "lasting", "short", "fresh", "brief", "brief"],
  ["lasting", "lasting", "short", "short", "fresh"],
];
const withBrief = 1;

/** A publisher that remembers when its connection was lost: then it sends anew what is not acknowledged. */
class Publisher extends PublishingActor {
  readonly lostAt: number[] = [];

  protected override disconnected(): void {
    this.lostAt.push(this.world.now());
  }
}

function pick(world: World) {
  const nodes = [...world.nodes.values()];
  return nodes[Math.floor(world.random.next() * nodes.length)]!;
}

type Misfortune = (world: World) => Promise<void>;

const death: Misfortune = async (world) => {
  const node = pick(world);
  node.kill();
  await world.pass(world.random.next() < 0.5 ? world.random.next() * 300 : 2500 + world.random.next() * 3000);
  await node.startIn(world);
};

const misfortunes: readonly Misfortune[] = [
  async (world) => {
    const [node, other] = [pick(world), pick(world)];
    node.cutFrom.add(other.id);
    await world.pass(world.random.next() * 6000);
    node.cutFrom.delete(other.id);
  },
  async (world) => {
    const node = pick(world);
    node.cutKeeper();
    await world.pass(world.random.next() * 5000);
    node.healKeeper();
  },
  async (world) => {
    pick(world).loseNextAnswer(20 + world.random.next() * 1500);
    await world.pass(1500);
  },
  // None.
  async (world) => void (await world.pass(2000)),
];

async function run(seed: number): Promise<string[]> {
  // Some dozen messages are all that a poor bank can keep.
  const world = new World(seed, { log: simulationLog, bankCapital: seed % 2 === 0 ? 5000 : 10_000_000 });
  for (const id of ["a", "b", "c"]) await world.node(id).startIn(world);
  const history = new TimedHistory(() => world.now());
  const cast = seed % kinds.length;
  const mishaps = cast === withBrief ? misfortunes : [...misfortunes, death, death];
  const members = kinds[cast]!.map((kind, at) => new GroupMember(`m${at}`, { kind, world, filter: "$share/g/sim/#" }));
  const publishers = ([1, 2, 1] as const).map((qos, at) => new Publisher(`p${at}`, { world, history, qos, pace: 100 }));
  for (const who of [...members, ...publishers]) who.live();
  const isReady = (): boolean => members.every((member) => member.isReady) && publishers.every(({ up }) => up);
  for (const member of members) member.isRestless = false;
  if (!(await world.pass(20_000, isReady))) return ["not everybody could connect at the start"];
  for (const member of members) member.isRestless = true;
  let forwarded = 0;
  const before = new Map<object, number>();
  const count = (): void => {
    for (const { broker } of world.nodes.values()) {
      if (broker === undefined) continue;
      forwarded += broker.context.metrics.forwarded - (before.get(broker) ?? 0);
      before.set(broker, broker.context.metrics.forwarded);
    }
  };
  for (const publisher of publishers) {
    publisher.isBusy = true;
    publisher.work();
  }
  for (let fault = 2 + Math.floor(world.random.next() * 3); fault > 0; fault--) {
    await world.pass(500 + world.random.next() * 1500);
    count();
    await mishaps[Math.floor(world.random.next() * mishaps.length)]!(world);
  }
  for (const publisher of publishers) publisher.isBusy = false;
  for (const member of members) member.isRestless = false;
  const rests = (): boolean =>
    isReady() && publishers.every(({ isSettled }) => isSettled) && leftovers(world).length === 0;
  const healed = await world.pass(healMs, rests);
  await world.pass(3000);
  count();
  const wrong = [...world.ended, ...judge(history, { members, publishers, areLasting: cast === 0 })];
  if (!healed) wrong.push(`not at rest: ${leftovers(world).slice(0, 5).join(" ")}`);
  else {
    // What is done now and then may be under way just now.
    await world.pass(1000, () => unsettled(world).length === 0);
    wrong.push(...unsettled(world), ...(await creditsStillLost(world, creditLooksMax)));
  }
  wrong.push(...(await overdrawn(world)));
  if (forwarded > forwardsPerMessageMax * history.sent.length + 100)
    wrong.push(`${history.sent.length} messages were handed from broker to broker ${forwarded} times`);
  return wrong;
}

interface Cast {
  readonly members: readonly GroupMember[];
  readonly publishers: readonly Publisher[];
  /** All sessions of members outlive everything. */
  readonly areLasting: boolean;
}

function judge(history: TimedHistory, { members, publishers, areLasting }: Cast): string[] {
  const counts = new Map<string, number>();
  for (const { received } of members)
    for (const payload of received) counts.set(payload, (counts.get(payload) ?? 0) + 1);
  return history.sent.flatMap((message) => {
    const payload = `${message.publisher} ${message.sequence}`;
    const times = counts.get(payload) ?? 0;
    const { lostAt } = publishers.find(({ name }) => name === message.publisher)!;
    if (message.qos === 2 && times > 1 && !mayBeDoubled(history, { payload, members, lostAt }))
      return [`${times} times QoS 2 ${payload}`];
    // What was sent at QoS 2 to a member whose session has ended goes to nobody else [MQTT-4.8.2-5].
    const mayBeLost = message.qos === 2 && !areLasting;
    const isLost = times === 0 && history.acknowledgedAt.has(payload) && !mayBeLost;
    return isLost ? [`no member has got QoS ${message.qos} ${payload}`] : [];
  });
}

interface Doubled {
  readonly payload: string;
  readonly members: readonly GroupMember[];
  /** When its publisher's connections were lost. */
  readonly lostAt: readonly number[];
}

/**
 * Returns true if a message at QoS 2 may have come twice. Of what was for a session that ends with its connection no
 * commit is made, which whoever publishes it anew could find: also if it only waited there, and went to another member
 * when that one was gone. So its publisher has lost its connection before it was acknowledged, and such a member has
 * it, or has gone meanwhile.
 */
function mayBeDoubled(history: TimedHistory, { payload, members, lostAt }: Doubled): boolean {
  const from = history.sentAt.get(payload)!;
  const to = history.acknowledgedAt.get(payload) ?? Infinity;
  const isMeanwhile = (at: number): boolean => at >= from && at <= to;
  const brief = members.filter(({ kind }) => kind === "brief");
  const isBriefs = brief.some(({ received, endedAt }) => received.includes(payload) || endedAt.some(isMeanwhile));
  return isBriefs && lostAt.some(isMeanwhile);
}

test(`${seeds.count} seeds`, () => expectRight(seeds, run), 900_000);

test("what is stored for a session just when it begins anew goes to another member", async () => {
  const world = new World(1, { bankCapital: 10_000_000 });
  for (const id of ["a", "b"]) await world.node(id).startIn(world);
  const member = await Device.connect(world, "b");
  await member.subscribe("$share/g/t", { qos: 1 });
  const { tree } = world.keeper;
  // Another broker has not heard yet that the session before it has ended.
  world.keeper.afterWrite = (_, operations) => {
    const record = operations.find(({ kind, path }) => kind === "create" && /^\/sessions\/..\/fresh$/.test(path));
    if (record === undefined) return;
    const create = (path: string, data: Uint8Array = noBytes): WriteOperation => ({
      kind: "create",
      path,
      data,
      mode: "persistent",
    });
    const messagePath = "/topics/t/=late";
    const slip = {
      ...({ state: "waiting", qos: 1, retain: false, packetId: 0, recipients: 1, keepUntil: Infinity } as const),
      ...{ subscriptionIds: [], branch: "a", messagePath, hasParts: false, groupMark: groupMarkOf("$share/g/t") },
    };
    const message = makePublish(encodeUtf8("t"), encodeUtf8("late"), { qos: 1, retain: false });
    const head = { credits: 1, keepUntil: Infinity, branch: "a", recipients: 1 };
    tree.write([create("/topics/t"), create(messagePath, encodeMessage(message, head))], {});
    tree.write([create(`${record.path}/mail`), create(`${record.path}/mail/0000000000`, encodeSlip(slip))], {});
  };
  const session = { clientId: "fresh", clean: true, properties: { sessionExpiryInterval: 1000 } };
  const fresh = await Device.connect(world, "a", session);
  expect((await member.take("publish")).payload.toString()).toBe("late");
  await world.pass(1000);
  expect(fresh.packets).toEqual([]);
  expect([...tree.nodes.keys()].filter((path) => path.includes("/mail/") || path.includes("/="))).toEqual([]);
});
