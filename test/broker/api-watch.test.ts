/** Watching topics over the HTTP API: messages as they are published, bounded, whatever the access list says. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { shownPayloadBytesMax, watchedPerSecondMax } from "../../src/base/api-limits.ts";
import { freePort } from "../bench/brokers.ts";
import { ApiClient } from "../support/api.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-watch-"));
const aclFile = join(folder, "acl");
let broker: TestBroker;
let api: ApiClient;
beforeAll(async () => {
  const port = await freePort();
  // Nobody may read anything.
  writeFileSync(aclFile, "topic write #\n");
  broker = await startBroker({ httpPort: port, httpHost: "127.0.0.1", aclFile });
  api = await ApiClient.open(port);
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

const watchers = async (): Promise<number> => (await api.get("/clients?search=watch-")).items.length;
const publish = (client: RawClient, topic: string, payload: string | Buffer): void =>
  client.send({ cmd: "publish", topic, payload, qos: 0, retain: false, dup: false });

/** Watches a filter; returns when messages are heard of. */
async function watch(filter: string) {
  const reader = await api.listen(`/watch?filter=${encodeURIComponent(filter)}`);
  const isSubscribed = async (): Promise<boolean> =>
    (await api.get(`/subscriptions?filter=${encodeURIComponent(filter)}`)).items.length === 1;
  await eventually(isSubscribed, "it is subscribed to");
  return reader;
}

test("messages are told that match the filter, texts as texts, and large ones cut; then it is over", async () => {
  const client = await RawClient.connect(broker.port, { protocolVersion: 5, clientId: "publisher" });
  const reader = await watch("seen/#");
  publish(client, "unseen", "no");
  publish(client, "seen/text", "grün");
  publish(client, "seen/bytes", Buffer.of(0xff, 0));
  publish(client, "seen/large", "ä".repeat(shownPayloadBytesMax));
  const [text, bytes, large] = [await reader.next(), await reader.next(), await reader.next()];
  expect(text!.name).toBe("message");
  expect(text!.data).toMatchObject({ topic: "seen/text", payload: "grün", payload_bytes: 5, skipped: 0 });
  expect(bytes!.data).toMatchObject({ payload: null, payload_base64: "/wA=", payload_bytes: 2 });
  expect(large!.data).toMatchObject({ payload_bytes: 2 * shownPayloadBytesMax });
  expect(large!.data.payload).toBe("ä".repeat(shownPayloadBytesMax / 2));
  expect(await watchers()).toBe(1);
  reader.leave();
  await eventually(async () => (await watchers()) === 0, "the client has gone with its user");
  expect(broker.server.broker.context.router.subscriptions).toBe(0);
  client.abort();
});

test("of a flood some are told each second, and how many were not", async () => {
  const client = await RawClient.connect(broker.port, { protocolVersion: 5, clientId: "flood" });
  const reader = await watch("flood");
  const many = 4 * watchedPerSecondMax;
  for (let index = 0; index < many; index++) publish(client, "flood", String(index));
  for (let index = 0; index < watchedPerSecondMax; index++)
    expect((await reader.next())!.data).toMatchObject({ payload: String(index), skipped: 0 });
  const beat = setInterval(() => publish(client, "flood", "later"), 100);
  const next = (await reader.next())!.data;
  clearInterval(beat);
  expect(next.skipped).toBeGreaterThan(0);
  reader.leave();
  client.abort();
});

test("it goes on when users and rules are read again", async () => {
  const client = await RawClient.connect(broker.port, { protocolVersion: 5, clientId: "reloader" });
  const reader = await watch("again");
  writeFileSync(aclFile, "topic write #\ntopic write more\n");
  broker.server.reload();
  const beat = setInterval(() => publish(client, "again", "still"), 50);
  for (let index = 0; index < 10; index++) expect((await reader.next())!.data.payload).toBe("still");
  clearInterval(beat);
  reader.leave();
  client.abort();
});

test("a filter that is none is refused; one that the broker disconnects is told why", async () => {
  for (const filter of ["a/#/b", "$share/g/a", ""])
    expect((await api.ask(`/watch?filter=${encodeURIComponent(filter)}`)).status).toBe(400);
  const reader = await watch("ends");
  const { items } = await api.get("/clients?search=watch-");
  expect((await api.ask(`/clients/${items[0].client_id}/disconnect`, { method: "POST" })).status).toBe(200);
  const last = await reader.next();
  expect([last!.name, last!.data.reason]).toEqual(["end", "the broker has ended it: 0x98 administrative action"]);
  reader.leave();
});
