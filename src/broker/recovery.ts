/** The start: the tree's roots, this broker's znode, and everything that an earlier life has left in the store. */
import { noBytes } from "../base/bytes.ts";
import { OperatingError } from "../base/errors.ts";
import type {
  Coordinator,
  ReadOperation,
  ReadResult,
  WriteOperation,
  WriteResult,
} from "../coordinator/coordinator.ts";
import {
  brokerPath,
  decodeName,
  incomingPath,
  mailPath,
  nameOf,
  parentPath,
  retainedPath,
  rootPaths,
  sessionsPath,
  subscriberMark,
  subscribersPath,
  topicOfPath,
  willPath,
} from "../coordinator/paths.ts";
import { decodeMessage, decodeSession, decodeSubscription, decodeWill } from "../mail/records.ts";
import { Session } from "../session/session.ts";
import { Client } from "./client.ts";
import type { Context } from "./context.ts";
import type { Sessions } from "./sessions.ts";
import type { Wills } from "./wills.ts";

/** Znodes read at once. */
const pageNodes = 512;

/** Makes the roots and the broker's own znode, and returns its epoch. */
export async function joinTree(coordinator: Coordinator, id: string, facts: object): Promise<number> {
  for (const path of rootPaths)
    await write(coordinator, [{ kind: "create", path, data: noBytes, mode: "persistent" }], "NodeExists");
  const data = new TextEncoder().encode(JSON.stringify(facts));
  const [stat] = await write(coordinator, [{ kind: "create", path: brokerPath(id), data, mode: "ephemeral" }]);
  return stat!.czxid;
}

/** Fills the broker's memory from the store. */
export async function recover(context: Context, sessions: Sessions, wills: Wills): Promise<void> {
  await recoverSessions(context, sessions);
  await recoverSubscriptions(context);
  await recoverRetained(context);
  await recoverWills(context, wills);
}

async function recoverSessions(context: Context, sessions: Sessions): Promise<void> {
  const { coordinator, clock, journal } = context;
  const shards = await children(coordinator, sessionsPath);
  for (const shard of shards) {
    const names = await children(coordinator, `${sessionsPath}/${shard}`);
    const paths = names.map((name) => `${sessionsPath}/${shard}/${name}`);
    await inPages(paths, async (page) => {
      const records = await read(
        coordinator,
        page.map((path) => ({ kind: "get", path })),
      );
      const clients = page.flatMap((path, index) => {
        const result = records[index]!;
        if (typeof result !== "object" || !("data" in result)) return [];
        // A record that could not be deleted because something was below it.
        if (result.data.length === 0) {
          journal.commit([{ kind: "remove", path }]);
          return [];
        }
        return [recoverSession(context, decodeName(nameOf(path)), result.data)];
      });
      await recoverMailboxes(
        context,
        clients.map(({ client }) => client),
      );
      for (const { client, record } of clients) {
        if (record.connected) sessions.rest(client);
        else if (record.expiresAt !== null) sessions.expireIn(client, Math.max(0, record.expiresAt - clock.wall()));
      }
    });
  }
}

function recoverSession(context: Context, clientId: string, data: Uint8Array) {
  const record = decodeSession(data);
  const client = new Client(context, new Session(clientId, record.version, record.expiryInterval));
  client.isRecorded = true;
  context.clients.set(clientId, client);
  return { client, record };
}

async function recoverMailboxes({ coordinator }: Context, clients: readonly Client[]): Promise<void> {
  const results = await read(
    coordinator,
    clients.flatMap(({ session: { clientId } }): ReadOperation[] => [
      { kind: "exists", path: mailPath(clientId) },
      { kind: "children", path: incomingPath(clientId) },
    ]),
  );
  for (let index = 0; index < clients.length; index++) {
    const mail = results[2 * index]!;
    const incoming = results[2 * index + 1]!;
    if (typeof mail === "object") clients[index]!.mailbox!.count = mail.stat.childCount;
    if (typeof incoming !== "object" || !("children" in incoming)) continue;
    for (const name of incoming.children) clients[index]!.session.addIncoming(Number(name));
  }
}

async function recoverSubscriptions({ coordinator, clients, router, journal }: Context): Promise<void> {
  await walk(coordinator, subscribersPath, (path, data) => {
    const name = nameOf(path);
    if (!name.startsWith(subscriberMark)) return;
    const client = clients.get(decodeName(name.slice(1)));
    const subscription = decodeSubscription(topicOfPath(subscribersPath, parentPath(path)), data);
    // Its session was erased while the broker died.
    if (client === undefined) return journal.commit([{ kind: "remove", path }]);
    client.session.subscribe(subscription);
    router.subscribe(client, subscription);
  });
}

async function recoverRetained({ coordinator, retained, journal, clock }: Context): Promise<void> {
  await walk(coordinator, retainedPath, (path, data, childCount) => {
    if (data.length === 0) {
      // A message that was cleared while others stood below it.
      if (childCount === 0) journal.commit([{ kind: "remove", path }]);
      return;
    }
    const topic = topicOfPath(retainedPath, path);
    const publish = decodeMessage(topic, data);
    if (publish.expiresAt <= clock.wall()) journal.commit([{ kind: "remove", path }]);
    else retained.set(topic, publish);
  });
}

async function recoverWills({ coordinator, options, clients }: Context, wills: Wills): Promise<void> {
  const parent = parentPath(willPath(options.id, "x"));
  const paths = (await children(coordinator, parent)).map((name) => `${parent}/${name}`);
  await inPages(paths, async (page) => {
    const results = await read(
      coordinator,
      page.map((path) => ({ kind: "get", path })),
    );
    for (let index = 0; index < page.length; index++) {
      const result = results[index]!;
      if (typeof result !== "object" || !("data" in result)) continue;
      const clientId = decodeName(nameOf(page[index]!));
      const client = clients.get(clientId);
      if (client !== undefined) wills.recovered(client, decodeWill(result.data));
      else wills.orphaned(clientId, decodeWill(result.data));
    }
  });
}

/** Visits every node below a path, parents first. */
async function walk(
  coordinator: Coordinator,
  root: string,
  visit: (path: string, data: Uint8Array, childCount: number) => void,
): Promise<void> {
  let level = [root];
  while (level.length > 0) {
    const next: string[] = [];
    await inPages(level, async (page) => {
      const results = await read(
        coordinator,
        page.flatMap((path): ReadOperation[] => [
          { kind: "get", path },
          { kind: "children", path },
        ]),
      );
      for (let index = 0; index < page.length; index++) {
        const path = page[index]!;
        const node = results[2 * index]!;
        const below = results[2 * index + 1]!;
        if (path !== root && typeof node === "object" && "data" in node) visit(path, node.data, node.stat.childCount);
        if (typeof below === "object" && "children" in below) {
          for (const name of below.children) next.push(`${path}/${name}`);
        }
      }
    });
    level = next;
  }
}

async function inPages<Item>(items: readonly Item[], handle: (page: readonly Item[]) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += pageNodes) await handle(items.slice(at, at + pageNodes));
}

async function children(coordinator: Coordinator, path: string): Promise<readonly string[]> {
  const [result] = await read(coordinator, [{ kind: "children", path }]);
  return typeof result === "object" && "children" in result ? result.children : [];
}

function read(coordinator: Coordinator, operations: readonly ReadOperation[]): Promise<readonly ReadResult[]> {
  if (operations.length === 0) return Promise.resolve([]);
  return new Promise((resolve, reject) => {
    coordinator.read(operations, (error, results) => {
      if (error === undefined) resolve(results);
      else reject(new OperatingError(error.code, `cannot read the store: ${error.message}`));
    });
  });
}

function write(
  coordinator: Coordinator,
  operations: readonly WriteOperation[],
  unless?: string,
): Promise<readonly WriteResult[]> {
  return new Promise((resolve, reject) => {
    coordinator.write(operations, (error, results) => {
      if (error === undefined || error.code === unless) resolve(results);
      else reject(new OperatingError(error.code, `cannot write to the store: ${error.message}`));
    });
  });
}
