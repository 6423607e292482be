/**
 * Strangers and operators write whatever they like into the tree, anywhere: brokers that live go on, one that starts
 * does, and nobody loses what is his. A failure prints its seed; MQTTZOO_FUZZ_SEED runs it again, MQTTZOO_FUZZ_ZNODES
 * says how many znodes.
 */
import { expect, test } from "bun:test";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import type { Broker } from "../../src/broker/broker.ts";
import { cursorsPath, incomingPath, mailPath, sessionPath } from "../../src/coordinator/paths.ts";
import { encodeMessage, encodeSession, encodeSlip } from "../../src/mail/records.ts";
import { encodeWill } from "../../src/mail/will-record.ts";
import { makePublish } from "../../src/mqtt/publish.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import { eventually } from "../support/broker.ts";
import { type Cluster, linked, startCluster } from "../support/cluster.ts";
import { RawClient } from "../support/raw-client.ts";

const seed = Number(process.env.MQTTZOO_FUZZ_SEED ?? Date.now() % 2 ** 31);
const znodes = Number(process.env.MQTTZOO_FUZZ_ZNODES ?? 800);

let state = seed;
function below(limit: number): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((state / 2 ** 32) * limit);
}
const pick = <Item>(items: readonly Item[]): Item => items[below(items.length)]!;

const publish = makePublish(encodeUtf8("t/x"), encodeUtf8("x"), { qos: 1, retain: false });
const message = encodeMessage(publish, { credits: 7, keepUntil: 1e15, branch: "a", recipients: 1 });
const slip = {
  state: "waiting",
  qos: 1,
  retain: false,
  packetId: 0,
  recipients: 1,
  keepUntil: 1e15,
  subscriptionIds: [],
  branch: "a",
  messagePath: "/topics/t/x/=nothing",
  hasParts: false,
  groupMark: 0,
} as const;
const session = { owner: "a", epoch: 1, connected: true, version: 5, expiryInterval: 60, expiresAt: null } as const;
const records = [
  message,
  encodeSlip(slip),
  encodeSlip({ ...slip, messagePath: "/bank" }),
  encodeSession(session),
  encodeWill({ publish, delay: 0, expiryMs: Infinity, epoch: 1 }),
  encodeUtf8(JSON.stringify({ grant: 5 })),
  encodeUtf8(JSON.stringify({ isOpen: true })),
  encodeUtf8(JSON.stringify({ host: "h", port: 1, linkHost: "127.0.0.1", linkPort: 1, mailDrops: 7 })),
];

function junk(): Uint8Array {
  const random = (length: number): Uint8Array => Uint8Array.from({ length }, () => below(256));
  switch (below(6)) {
    case 0:
      return new Uint8Array(0);
    case 1:
      return random(below(200));
    case 2:
      return random(100_000);
    case 3:
      return encodeUtf8(
        pick(["{}", "[]", "null", "7", '{"grant":"x"}', '{"capital":null}', '{"linkHost":1}', "\u0000"]),
      );
    case 4: {
      const bent = Uint8Array.from(pick(records));
      for (let times = below(4); times >= 0; times--) bent[below(bent.length)] = below(256);
      return bent;
    }
    default: {
      const record = pick(records);
      return record.subarray(0, below(record.length + 1));
    }
  }
}

const names = [
  "visitor",
  "%zz",
  "%",
  "caf%C3%A9",
  "@nobody",
  "~nobody",
  "=x",
  "0000000007",
  "zookeeper",
  "a b",
  "日",
  "+",
  "#",
  "7",
];

/** A place of any kind: below a root, below what is ours, or deep below both. */
function place(): string {
  const sessions = ["c away", "c home", "nobody"].flatMap((id) => {
    return [sessionPath(id), mailPath(id), incomingPath(id), cursorsPath(id)];
  });
  const roots = [
    "/brokers",
    "/brokers",
    "/commits",
    "/subscribers",
    "/publishers",
    "/retained",
    "/topics",
    "/sessions",
  ];
  roots.push(
    "/sessions/00",
    "/wills",
    "/wills/a",
    "/wills/nobody",
    "/parts",
    "/parts/nothing",
    "/bank/branches",
    "/bank/drops",
  );
  roots.push(
    "/subscribers/t",
    "/subscribers/t/x",
    "/retained/t",
    "/topics/t",
    "/topics/t/x",
    "/topics/drop",
    "",
    ...sessions,
  );
  let path = pick(roots);
  for (let depth = below(3); depth >= 0; depth--) path += `/${pick(names)}`;
  return path;
}

async function scatter(zookeeper: ZooKeeper, count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    const path = place();
    const levels = path.split("/");
    for (let depth = 2; depth < levels.length; depth++)
      await zookeeper.create(levels.slice(0, depth).join("/")).catch(() => {});
    const mode = pick(["persistent", "persistent", "ephemeral", "container"] as const);
    await zookeeper.create(path, junk(), { mode }).catch(() => {});
    if (below(4) === 0) await zookeeper.set(path, junk()).catch(() => {});
    if (below(8) === 0) await zookeeper.delete(path).catch(() => {});
  }
}

const keeps = (clientId: string) => ({
  clientId,
  clean: false,
  protocolVersion: 5,
  properties: { sessionExpiryInterval: 600 },
});
let rounds = 0;

/** Everything that a broker is for, between two of a cluster. */
async function serve({ port }: Cluster, near: number, far: number): Promise<void> {
  const round = `r${++rounds}`;
  const away = await RawClient.connect(port(near), keeps("c away"));
  await away.subscribe("mine/away/#", { qos: 2 });
  away.disconnect();
  const home = await RawClient.connect(port(far), keeps("c home"));
  await home.subscribe(`mine/${round}/#`, { qos: 1, retain: false });
  const publisher = await RawClient.connect(port(near), { clientId: `p ${round}`, protocolVersion: 5 });
  publisher.publish(`mine/${round}/x`, "live", { qos: 1, messageId: 1 });
  publisher.publish(`mine/away/${round}`, "kept", { qos: 1, messageId: 2 });
  publisher.publish(`mine/kept/${round}`, "retained", { qos: 1, messageId: 3, retain: true });
  publisher.publish(`drop/${round}`, "laid", { qos: 1, messageId: 4 });
  const acks = await publisher.takeMany("puback", 4);
  expect(acks.map(({ reasonCode }) => reasonCode ?? 0).filter((code) => code >= 128)).toEqual([]);
  expect(String((await home.take("publish")).payload)).toBe("live");
  const back = await RawClient.connect(port(far), keeps("c away"));
  const mail = await back.take("publish");
  expect([mail.topic, String(mail.payload)]).toEqual([`mine/away/${round}`, "kept"]);
  back.send({ cmd: "puback", messageId: mail.messageId });
  const late = await RawClient.connect(port(far));
  await late.subscribe(`mine/kept/${round}`);
  expect(String((await late.take("publish")).payload)).toBe("retained");
  await late.subscribe(`drop/${round}`);
  expect(String((await late.take("publish")).payload)).toBe("laid");
  for (const client of [home, back, publisher, late]) client.disconnect();
}

test("junk anywhere in the tree: brokers go on, and start", async () => {
  console.log(`MQTTZOO_FUZZ_SEED=${seed}`);
  const cluster = await startCluster(["a", "b"], { mailDrop: ["drop/#"] });
  const zookeeper = await ZooKeeper.connect(cluster.zk);
  await serve(cluster, 0, 1);
  for (let round = 0; round < 4; round++) {
    await scatter(zookeeper, znodes / 4);
    // The teller goes through the tree, accounts are looked at, sessions are looked for.
    for (const { broker } of cluster.brokers) broker.context.timers.tick(broker.context.clock.now() + 31_000);
    // A lease is among what is due by then: a broker may be fenced for a moment.
    const serves = ({ context }: Broker): boolean =>
      !context.self.isFenced && context.coordinator.state === "CONNECTED";
    await eventually(
      () => cluster.brokers.every(({ broker }) => serves(broker) && linked(broker) === cluster.brokers.length - 1),
      "links and leases",
      60_000,
    );
    await serve(cluster, round % 2, (round + 1) % 2);
  }
  const { strangers } = cluster.brokers[0]!.broker.context;
  expect(strangers.count).toBeGreaterThan(0);
  await cluster.add("c");
  await eventually(() => cluster.brokers.every(({ broker }) => linked(broker) === 2), "all are linked", 60_000);
  await serve(cluster, 2, 0);
  await serve(cluster, 1, 2);
  expect(cluster.brokers[2]!.broker.context.strangers.words).toMatch(/^\/.+ (is|has|holds|names)/);
  await zookeeper.close();
  await cluster.stop();
}, 240_000);
