/**
 * Clients that take messages at QoS 2 and never end the exchange, at brokers that die and take over their sessions:
 * what is left of each message is paid for at each moment, and it all goes with the sessions.
 */
import { expect, test } from "bun:test";
import { creditLooksMax, creditsStillLost, overdrawn, tooHeavy, unpaidSlips } from "./checkers.ts";
import { Device } from "./device.ts";
import { World } from "./world.ts";

const holders = ["s0", "s1", "s2"];
const rounds = 9;
const publishesPerRound = 15;

/** Takes what comes, and says that it has each message, or not even that. */
async function hold(world: World, at: string, clientId: string): Promise<Device | undefined> {
  const properties = { sessionExpiryInterval: 10_000 };
  const device = await Device.connect(world, at, { clientId, clean: false, properties }).catch(() => undefined);
  if (device === undefined) return undefined;
  const says = world.random.next() < 0.7;
  const answer = ({ cmd, messageId }: { cmd: string; messageId: number }): void => {
    if (cmd === "publish" && says) device.send({ cmd: "pubrec", messageId });
  };
  device.onPacket = answer;
  for (const packet of device.packets.splice(0)) answer(packet);
  const subscriptions = ["t/#", "drop/#"].map((topic) => ({ topic, qos: 2 }));
  device.send({ cmd: "subscribe", messageId: 1, subscriptions });
  return device;
}

/** Publishes what one or all holders get, some of it only for a second. */
async function publishSome(world: World, at: string): Promise<void> {
  const publisher = await Device.connect(world, at).catch(() => undefined);
  if (publisher === undefined) return;
  for (let messageId = 1; messageId <= publishesPerRound; messageId++) {
    const properties = world.random.next() < 0.3 ? { messageExpiryInterval: 1 } : {};
    const root = ["t", "drop"][messageId % 2];
    publisher.publish(`${root}/${"long".repeat(20)}/${messageId % 4}`, "x", { qos: 2, messageId, properties });
  }
  await world.pass(2000);
  publisher.abort();
}

async function runSeed(seed: number): Promise<string[]> {
  const world = new World(seed, { bankCapital: seed % 2 === 0 ? 1_000_000 : 12_000, mailDrop: ["drop/#"] });
  const ids = ["a", "b"];
  for (const id of ids) await world.node(id).startIn(world);
  const wrong: string[] = [];
  const check = async (when: string): Promise<void> => {
    const found = [...unpaidSlips(world), ...(await tooHeavy(world)), ...(await overdrawn(world))];
    wrong.push(...found.map((what) => `seed ${seed}, ${when}: ${what}`));
  };
  for (let round = 0; round < rounds; round++) {
    const anywhere = (): string => ids[Math.floor(world.random.next() * ids.length)]!;
    const devices = await Promise.all(holders.map((clientId) => hold(world, anywhere(), clientId)));
    await publishSome(world, anywhere());
    await check(`round ${round}`);
    // Half of the clients stay for a while; one broker or the other dies.
    for (const device of devices) if (world.random.next() < 0.5) device?.abort();
    if (round % 3 === 2) {
      const node = world.node(anywhere());
      node.kill();
      await world.pass(world.random.next() * 2 * world.sessionTimeoutMs);
      await check(`round ${round}, dead`);
      await node.startIn(world);
    }
    await world.pass(world.random.next() * 40_000);
    await check(`round ${round}, later`);
    for (const device of devices) device?.abort();
  }
  await world.pass(5000);
  for (const clientId of holders) (await Device.connect(world, "a", { clientId })).leave();
  await world.pass(5000);
  await check("the end");
  // In mail drops messages lie until their time is over.
  const left = [...world.tree.nodes.keys()].filter((path) => /^\/(sessions\/.*\/.*\/|topics\/t\/.*=)/.test(path));
  wrong.push(...left.map((path) => `seed ${seed}: ${path} is left`));
  return [...wrong, ...(await creditsStillLost(world, creditLooksMax))];
}

const seeds = 4;

test(`${seeds} seeds`, async () => {
  const wrong: string[] = [];
  for (let seed = 1; seed <= seeds; seed++) wrong.push(...(await runSeed(seed)));
  expect(wrong.slice(0, 10)).toEqual([]);
}, 300_000);
