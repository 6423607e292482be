/** OpenTelemetry: a collector is sent traces of messages, metrics and the log; a bad one does a broker no harm. */
import { afterAll, afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "../../src/base/log.ts";
import { type BrokerOptions, defaultOptions } from "../../src/broker/core/options.ts";
import { type Server, startServer } from "../../src/server/server.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { Collector } from "../support/collector.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
const spanId = "00f067aa0ba902b7";
const parent = `00-${traceId}-${spanId}-01`;

const root = mkdtempSync(join(tmpdir(), "mqttzoo-otlp-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let collector: Collector;
let servers: Server[] = [];
let lines: string[] = [];
let folders = 0;
beforeEach(() => {
  collector = new Collector();
  lines = [];
});
afterEach(async () => {
  await Promise.all(servers.map((server) => server.stop()));
  servers = [];
  collector.close();
});

async function start(some: Partial<BrokerOptions> = {}): Promise<Server> {
  const own = { host: "127.0.0.1", port: 0, id: "test", maxMemory: "none", otlp: collector.url } as const;
  const told = lines;
  const log = createLog({ level: "info", format: "json", write: (line) => void told.push(line) });
  const data = join(root, String(++folders));
  const server = await startServer({ ...defaultOptions, ...own, otlpSample: 0, data, ...some }, log);
  servers.push(server);
  return server;
}

const user = (userProperties: Record<string, string>): AnyPacket => ({ properties: { userProperties } });
const five = (clientId: string, more: AnyPacket = {}): AnyPacket => ({ protocolVersion: 5, clientId, ...more });
const kept = { clean: false, properties: { sessionExpiryInterval: 100 } };
const contextIn = ({ properties }: AnyPacket): string[] => properties.userProperties.traceparent.split("-");

test("a message whose sender records a trace has a span for each hop, and carries on the context", async () => {
  const { port } = await start();
  const home = await RawClient.connect(port, five("home", kept));
  await home.subscribe("t", { qos: 1 });
  const publisher = await RawClient.connect(port, five("sensor"));
  publisher.publish("t", "hello", {
    qos: 1,
    messageId: 1,
    ...user({ traceparent: parent, tracestate: "v=1", a: "b" }),
  });
  const got = await home.take("publish");
  home.send({ cmd: "puback", messageId: got.messageId });
  await publisher.take("puback");
  const [deliver, receive, settle] = await collector.trace(traceId, 3);
  expect(receive).toMatchObject({ name: "receive", parentSpanId: spanId, broker: "test", error: undefined });
  expect(receive!.attributes).toMatchObject({
    ...{ "messaging.system": "mqtt", "messaging.destination.name": "t", "messaging.client.id": "sensor" },
    ...{ "messaging.message.body.size": 5, "mqttzoo.qos": 1 },
  });
  expect(deliver).toMatchObject({ name: "deliver", parentSpanId: receive!.spanId });
  expect(deliver!.attributes).toMatchObject({ "messaging.client.id": "home", "mqttzoo.qos": 1 });
  expect(settle).toMatchObject({ name: "settle", parentSpanId: receive!.spanId });
  expect(settle!.attributes).toEqual({ "mqttzoo.path": "acknowledged_through" });
  expect(contextIn(got)).toEqual(["00", traceId, receive!.spanId, "01"]);
  expect(got.properties.userProperties).toMatchObject({ tracestate: "v=1", a: "b" });
  expect(String(got.payload)).toBe("hello");
});

test("what is stored for a client that is away is one trace with what it is sent when it is back", async () => {
  const { port } = await start();
  const away = await RawClient.connect(port, five("away", kept));
  await away.subscribe("t", { qos: 1 });
  away.disconnect();
  await away.untilClosed();
  const publisher = await RawClient.connect(port, five("sensor"));
  publisher.publish("t", "later", { qos: 1, messageId: 1, ...user({ traceparent: parent }) });
  await publisher.take("puback");
  const [receive, settle, store] = await collector.trace(traceId, 3);
  expect([receive!.name, settle!.name, store!.name]).toEqual(["receive", "settle", "store"]);
  expect([store!.parentSpanId, settle!.attributes["mqttzoo.path"]]).toEqual([receive!.spanId, "stored"]);
  const back = await RawClient.connect(port, five("away", kept));
  const got = await back.take("publish");
  back.send({ cmd: "puback", messageId: got.messageId });
  const [deliver] = await collector.trace(traceId, 4);
  expect(deliver).toMatchObject({ name: "deliver", parentSpanId: receive!.spanId });
  expect(contextIn(got)[2]).toBe(receive!.spanId);
});

test("a message that is refused says why", async () => {
  const { port, broker } = await start({ topicLevelsMax: 3, maxRetained: 1 });
  const publisher = await RawClient.connect(port, five("sensor"));
  for (const messageId of [1, 2]) {
    publisher.publish(`r${messageId}`, "x", { qos: 1, retain: true, messageId, ...user({ traceparent: parent }) });
    await publisher.take("puback");
  }
  await collector.trace(traceId, 4);
  const refused = collector.spans.filter(({ error }) => error !== undefined);
  expect(refused.map(({ name }) => name)).toEqual(["receive"]);
  expect(refused[0]!.error).toContain("retained");
  expect(broker.context.metrics.beyondLimit.retained).toBe(1);
});

test("what its sender does not record, and what is malformed, is passed on as it came", async () => {
  const { port, broker } = await start();
  const client = await RawClient.connect(port, five("c"));
  await client.subscribe("t", { qos: 0 });
  for (const traceparent of [parent.replace(/01$/, "00"), "nonsense"]) {
    client.publish("t", "x", { qos: 0, ...user({ traceparent }) });
    expect((await client.take("publish")).properties.userProperties).toEqual({ traceparent });
  }
  client.publish("t", "x", { qos: 0 });
  expect((await client.take("publish")).properties).toBeUndefined();
  // The log is sent as often as spans are.
  broker.context.log.info("here");
  await eventually(() => collector.logs.length > 0, "something has come");
  expect(collector.spans).toEqual([]);
});

test("at 100 % each message begins a trace, also of clients that know nothing of it", async () => {
  const { port } = await start({ otlpSample: 100 });
  const old = await RawClient.connect(port, { clientId: "old" });
  const client = await RawClient.connect(port, five("new"));
  for (const subscriber of [old, client]) await subscriber.subscribe("t", { qos: 0 });
  old.publish("t", "one");
  expect(String((await old.take("publish")).payload)).toBe("one");
  const [, id, span] = contextIn(await client.take("publish"));
  const [first, second, receive] = await collector.trace(id!, 3);
  expect([first!.name, second!.name]).toEqual(["deliver", "deliver"]);
  expect(receive).toMatchObject({ name: "receive", spanId: span!, parentSpanId: undefined });
  // Many in one chunk, each for itself.
  for (let count = 0; count < 50; count++) client.publish("t", String(count), { qos: 0 });
  const packets = await client.takeMany("publish", 50);
  expect(packets.map(({ payload }) => String(payload))).toEqual(Array.from({ length: 50 }, (_, at) => String(at)));
  expect(new Set(packets.map((packet) => contextIn(packet)[1])).size).toBe(50);
});

test("the collector is sent the log and the metrics, under the names of /metrics", async () => {
  const { port, broker } = await start();
  const client = await RawClient.connect(port, five("c"));
  client.publish("t", "x", { qos: 1, messageId: 1 });
  await client.take("puback");
  broker.context.log.warn({ client: "c", tries: 3, list: [1] }, "something is wrong");
  const found = () => collector.logs.find(({ body }) => body === "something is wrong");
  await eventually(() => found() !== undefined, "the line has come");
  expect(found()).toMatchObject({ severity: "WARN", attributes: { client: "c", list: "[1]" } });
  // Numbers of 64 bits are texts in OTLP's JSON.
  expect(Number(found()!.attributes.tries)).toBe(3);
  await eventually(() => collector.metrics.size > 0, "metrics have come", 60_000);
  const points = (name: string, kind: string) => collector.metrics.get(name)[kind].dataPoints;
  expect(collector.metrics.get("mqttzoo_messages_received_total").sum).toMatchObject({ isMonotonic: true });
  expect(points("mqttzoo_connections", "gauge")[0].asDouble).toBe(1);
  expect(collector.metrics.get("mqttzoo_publish_ack_seconds").unit).toBe("s");
  const [live] = points("mqttzoo_publish_ack_seconds", "histogram");
  expect([Number(live.count), live.bucketCounts.length - live.explicitBounds.length]).toEqual([1, 1]);
  expect(live.bucketCounts.map(Number).reduce((sum: number, count: number) => sum + count)).toBe(1);
}, 90_000);

test.each([
  ["is not there", (broken: Collector) => broken.close()],
  ["is broken", (broken: Collector) => broken.answer(400)],
  ["does not answer", (broken: Collector) => broken.answer(undefined)],
])(
  "a collector that %s harms nobody: what it does not get is counted, and the log says so once",
  async (_, break_) => {
    break_(collector);
    const httpPort = await freePort();
    const { port } = await start({ otlpSample: 100, httpPort, httpHost: "127.0.0.1" });
    const client = await RawClient.connect(port, five("c"));
    await client.subscribe("t", { qos: 1 });
    const dropped = async (): Promise<number> => {
      const page = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
      return Number(/^mqttzoo_otlp_dropped_total\{signal="spans"\} (\d+)/m.exec(page)![1]);
    };
    const complaints = (): string[] => lines.filter((line) => line.includes("the OTLP collector does not take"));
    let messageId = 0;
    await eventually(
      async () => {
        messageId = (messageId % 60_000) + 1;
        client.publish("t", "x", { qos: 1, messageId });
        await client.take("puback");
        const { messageId: theirs } = await client.take("publish");
        client.send({ cmd: "puback", messageId: theirs });
        // Where nothing is answered, what finds no room is dropped before a batch has failed.
        return (await dropped()) > 0 && complaints().length > 0;
      },
      "spans are dropped, and it is told",
      60_000,
    );
    expect(complaints(), lines.join("\n")).toHaveLength(1);
    // Nobody has to wait for it when the broker ends, either.
    const from = performance.now();
    await servers.pop()!.stop();
    expect(performance.now() - from).toBeLessThan(10_000);
  },
  90_000,
);

test("a collector that is back is sent what comes from then on, and the log says so", async () => {
  collector.answer(400);
  const { port } = await start({ otlpSample: 100 });
  const client = await RawClient.connect(port, five("c"));
  client.publish("lost", "x", { qos: 1, messageId: 1 });
  const has = (words: string) => lines.some((line) => line.includes(words));
  await eventually(() => has("does not take"), "it is told");
  collector.answer(200);
  client.publish("found", "x", { qos: 1, messageId: 2 });
  await eventually(() => has("takes what it is sent again"), "it is told, too", 60_000);
  const found = () => collector.spans.some((span) => span.attributes["messaging.destination.name"] === "found");
  await eventually(found, "the later one has come");
}, 90_000);
