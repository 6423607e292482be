/** Live events over the HTTP API: who comes, goes and is refused, as it happens; slow readers cost nobody anything. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect as connectTcp } from "node:net";
import { apiStreamsMax, streamBytesMax } from "../../src/base/api-limits.ts";
import { freePort } from "../bench/brokers.ts";
import { ApiClient, type EventReader, type HeardEvent } from "../support/api.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { RawClient } from "../support/raw-client.ts";

let broker: TestBroker;
let api: ApiClient;
let port: number;
beforeAll(async () => {
  port = await freePort();
  broker = await startBroker({ httpPort: port, httpHost: "127.0.0.1" });
  api = await ApiClient.open(port);
});
afterAll(() => broker.stop());

const connect = (clientId: string, more: object = {}): Promise<RawClient> =>
  RawClient.connect(broker.port, { protocolVersion: 5, clientId, ...more });
const isWatched = (): boolean => broker.server.broker.context.events.isWatched;

async function leave(...readers: readonly EventReader[]): Promise<void> {
  for (const reader of readers) reader.leave();
  await eventually(() => !isWatched(), "nobody watches any more");
}

const brief = (event: HeardEvent | undefined): unknown[] => [event?.name, event?.data.client_id, event?.data.reason];

test("clients that come, go for any reason, and are refused are told as it happens, each with its reason", async () => {
  expect(isWatched()).toBe(false);
  const events = await api.listen("/events");
  const [first, second] = [await connect("one"), await connect("two")];
  const came = await events.next();
  expect(came!.data).toMatchObject({ kind: "connected", broker: "test", client_id: "one", user: null, reason: null });
  expect(came!.data.address).toStartWith("127.0.0.1:");
  expect(Math.abs(Date.now() - Date.parse(came!.data.at))).toBeLessThan(60_000);
  expect(brief(await events.next())).toEqual(["connected", "two", null]);
  first.send({ cmd: "disconnect", reasonCode: 4 });
  expect(brief(await events.next())).toEqual([
    "disconnected",
    "one",
    expect.stringMatching(/^the client has left: 0x04/),
  ]);
  second.abort();
  expect(brief(await events.next())).toEqual(["disconnected", "two", expect.stringMatching(/^connection lost: /)]);
  const third = await connect("three");
  expect(brief(await events.next())).toEqual(["connected", "three", null]);
  const again = await connect("three");
  const told = [await events.next(), await events.next()].map(brief);
  expect(told.sort()).toEqual([
    ["connected", "three", null],
    ["disconnected", "three", expect.stringContaining("session taken over")],
  ]);
  again.send({ cmd: "publish", topic: "$SYS/x", payload: "", qos: 1, messageId: 2, retain: false, dup: false });
  await again.take("puback");
  expect(brief(await events.next())).toEqual(["refused", "three", expect.stringMatching(/^on \$SYS\/x: /)]);
  await api.ask("/clients/three/disconnect", { method: "POST" });
  expect(brief(await events.next())).toEqual(["disconnected", "three", expect.stringContaining("administrator")]);
  third.abort();
  await leave(events);
});

test("one kind, or one client, is told of alone", async () => {
  const [kind, client] = [await api.listen("/events?kind=disconnected"), await api.listen("/events?client_id=b")];
  for (const name of ["a", "b"]) {
    const one = await connect(name);
    one.send({ cmd: "disconnect", reasonCode: 0 });
    await one.closed;
  }
  expect([brief(await kind.next())[1], brief(await kind.next())[1]]).toEqual(["a", "b"]);
  expect([(await client.next())!.name, (await client.next())!.name]).toEqual(["connected", "disconnected"]);
  expect((await api.ask("/events?kind=none")).status).toBe(400);
  await leave(kind, client);
});

test("so many watch at once, and HEAD does not", async () => {
  const readers = await Promise.all(Array.from({ length: apiStreamsMax }, () => api.listen("/events")));
  const { status, body } = await api.ask("/events");
  expect([status, body.detail]).toEqual([503, `${apiStreamsMax} watch already`]);
  await leave(...readers);
  const head = await fetch(`http://127.0.0.1:${port}/api/v1/events`, { method: "HEAD" });
  expect([head.status, isWatched()]).toEqual([200, false]);
});

test("a reader that takes nothing is ended, in words, and holds no memory; others hear on", async () => {
  const good = await api.listen("/events?client_id=last");
  const slow = connectTcp(port, "127.0.0.1");
  let got = "";
  slow.write("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await new Promise<void>((resolve) => {
    slow.once("data", (bytes) => {
      got += String(bytes);
      slow.pause();
      resolve();
    });
  });
  const { events } = broker.server.broker.context;
  const large = "x".repeat(streamBytesMax / 16);
  let told = 0;
  const count = events.watch(() => told++);
  const isEnded = (): boolean => {
    // Its socket takes some megabytes before it is full.
    const before = events.watchers;
    for (let index = 0; index < 8; index++)
      events.tell({ kind: "connected", clientId: "many", user: "", remote: large, reason: "" });
    return events.watchers < before;
  };
  await eventually(isEnded, "the slow reader is ended");
  count();
  slow.on("data", (bytes) => {
    got += String(bytes);
  });
  slow.resume();
  await eventually(() => got.includes("event: end\ndata: "), "it is told why");
  expect(got).toContain('"reason":"the reader is too slow');
  expect(told).toBeGreaterThan(0);
  slow.destroy();
  const last = await connect("last");
  expect(brief(await good.next())).toEqual(["connected", "last", null]);
  last.abort();
  await leave(good);
});
