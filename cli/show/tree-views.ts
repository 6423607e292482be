/** The views of a cluster as ZooKeeper knows it: brokers, sessions, who subscribes to what and who publishes where. */
import { decodeFacts } from "../../src/broker/peers/peer.ts";
import {
  brokerMark,
  brokersPath,
  decodeName,
  mailPath,
  nameOf,
  parentPath,
  publishersPath,
  sessionsPath,
  subscriberMark,
  subscribersPath,
  topicOfPath,
} from "../../src/coordinator/paths.ts";
import { notingReader } from "../../src/mail/record-reader.ts";
import { decodeSession } from "../../src/mail/records.ts";
import { decodeStamp } from "../../src/mail/stamp.ts";
import type { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";
import type { Row } from "../output/table.ts";

/** The views, by their names. `strangers`: takes what no broker has written. */
export const treeViews = {
  brokers: showBrokers,
  clients: showClients,
  subscriptions: showSubscriptions,
  publishers: showPublishers,
};

/** Znodes read at once. */
const pageNodes = 256;

async function showBrokers(zookeeper: ZooKeeper, strangers: Map<string, string>): Promise<Row[]> {
  const names = (await zookeeper.children(brokersPath)).children.sort();
  const rows = await Promise.all(
    names.map(async (name) => {
      const { data, stat } = await zookeeper.get(`${brokersPath}/${name}`);
      const facts = decodeFacts(data);
      if (facts === undefined) {
        strangers.set(`${brokersPath}/${name}`, "says nothing of a broker");
        return [];
      }
      const { host, port, linkPort, version, startedAt, draining } = facts;
      return [{ id: decodeName(name), host, port, linkPort, version, startedAt, draining, epoch: stat.czxid }];
    }),
  );
  return rows.flat();
}

async function showClients(zookeeper: ZooKeeper, strangers: Map<string, string>): Promise<Row[]> {
  const rows: Row[] = [];
  const reader = notingReader(strangers);
  for (const shard of (await zookeeper.children(sessionsPath)).children.sort()) {
    const paths = (await zookeeper.children(`${sessionsPath}/${shard}`)).children.map(
      (name) => `${sessionsPath}/${shard}/${name}`,
    );
    for (let at = 0; at < paths.length; at += pageNodes) {
      const page = paths.slice(at, at + pageNodes);
      const records = await zookeeper.multiRead(page.map((path) => ({ kind: "getData", path })));
      const mail = await Promise.all(page.map((path) => zookeeper.exists(mailPath(decodeName(nameOf(path))))));
      page.forEach((path, index) => {
        const record = records[index];
        if (typeof record !== "object" || !("data" in record) || record.data.length === 0) return;
        const session = reader.read(path, () => decodeSession(record.data));
        if (session === undefined) return;
        const { owner, connected, expiresAt } = session;
        const expires = expiresAt === null ? null : new Date(expiresAt).toISOString();
        rows.push({
          client: decodeName(nameOf(path)),
          broker: owner,
          connected,
          waiting: mail[index]?.numChildren ?? 0,
          expires,
        });
      });
    }
  }
  return rows.sort((a, b) => (String(a.client) < String(b.client) ? -1 : 1));
}

async function showSubscriptions(zookeeper: ZooKeeper): Promise<Row[]> {
  const rows = (await whatCounts(zookeeper, subscribersPath)).map(subscriptionRow);
  return rows.sort((a, b) => (`${a.filter} ${a.client}` < `${b.filter} ${b.client}` ? -1 : 1));
}

async function showPublishers(zookeeper: ZooKeeper): Promise<Row[]> {
  const rows = (await whatCounts(zookeeper, publishersPath)).map((path) => ({
    topic: topicOfPath(publishersPath, parentPath(path)),
    broker: decodeName(nameOf(path).slice(1)),
  }));
  return rows.sort((a, b) => (`${a.topic} ${a.broker}` < `${b.topic} ${b.broker}` ? -1 : 1));
}

/** Lists the marked paths without those that brokers which are gone have left. */
async function whatCounts(zookeeper: ZooKeeper, root: string): Promise<string[]> {
  const paths = await marked(zookeeper, root);
  const since = await liveSince(zookeeper);
  const isBrokers = (path: string): boolean => nameOf(path).startsWith(brokerMark);
  const found = paths.filter((path) => !isBrokers(path));
  const ofBrokers = paths.filter((path) => isBrokers(path) && since.has(decodeName(nameOf(path).slice(1))));
  for (let at = 0; at < ofBrokers.length; at += pageNodes) {
    const page = ofBrokers.slice(at, at + pageNodes);
    const nodes = await zookeeper.multiRead(page.map((path) => ({ kind: "getData", path })));
    page.forEach((path, index) => {
      const node = nodes[index];
      const stamp = typeof node === "object" && "data" in node ? decodeStamp(node.data) : undefined;
      if (stamp === "unnamed" || (stamp ?? -1) >= since.get(decodeName(nameOf(path).slice(1)))!) found.push(path);
    });
  }
  return found;
}

/** The epoch of each live broker, from which on what it has written counts. */
async function liveSince(zookeeper: ZooKeeper): Promise<Map<string, number>> {
  const since = new Map<string, number>();
  const names = (await zookeeper.children(brokersPath)).children;
  const nodes = await zookeeper.multiRead(names.map((name) => ({ kind: "getData", path: `${brokersPath}/${name}` })));
  nodes.forEach((node, index) => {
    if (typeof node !== "object" || !("data" in node)) return;
    const facts = decodeFacts(node.data);
    if (facts !== undefined) since.set(decodeName(names[index]!), facts.since ?? Number(node.stat.czxid));
  });
  return since;
}

/** Paths below a root whose names bear the mark of a broker or a subscriber: all others are levels. */
async function marked(zookeeper: ZooKeeper, root: string): Promise<string[]> {
  const found: string[] = [];
  const waiting = [root];
  for (let page = waiting.splice(0, pageNodes); page.length > 0; page = waiting.splice(0, pageNodes)) {
    const results = await zookeeper.multiRead(page.map((path) => ({ kind: "getChildren", path })));
    results.forEach((result, index) => {
      if (typeof result !== "object" || !("children" in result)) return;
      for (const name of result.children) {
        const path = `${page[index]}/${name}`;
        if (!name.startsWith(brokerMark) && !name.startsWith(subscriberMark)) waiting.push(path);
        else found.push(path);
      }
    });
  }
  return found;
}

function subscriptionRow(path: string): Row {
  const filter = topicOfPath(subscribersPath, parentPath(path));
  const name = nameOf(path);
  const who = decodeName(name.slice(1));
  return name.startsWith(brokerMark) ? { filter, client: "*", broker: who } : { filter, client: who, broker: null };
}
