/** OpenTelemetry in a cluster: what becomes of a message at several brokers is one trace. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { Collector } from "../support/collector.ts";
import { RawClient } from "../support/raw-client.ts";

const collector = new Collector();
let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster(["a", "b"], { otlp: collector.url, otlpSample: 0, settleAfter: 5000 });
}, 120_000);
afterAll(async () => {
  await cluster.stop();
  collector.close();
});

const kept = { clean: false, properties: { sessionExpiryInterval: 100 } };

test.each([
  ["QoS 0", 0, {}, ["deliver b", "receive a", "receive b"]],
  ["QoS 1, a session that ends with its connection", 1, {}, ["deliver b", "receive a", "receive b", "settle a"]],
  ["QoS 1, a persistent session", 1, kept, ["deliver b", "receive a", "receive b", "settle a"]],
  ["QoS 2, a persistent session", 2, kept, ["deliver b", "receive a", "settle a", "store a"]],
] as const)("%s", async (name, qos, session, expected) => {
  const topic = name.replaceAll(" ", "-").replaceAll(",", "");
  const traceId = Bun.hash(topic).toString(16).padStart(32, "1");
  const subscriber = await RawClient.connect(cluster.port(1), { protocolVersion: 5, clientId: topic, ...session });
  await subscriber.subscribe(topic, { qos });
  const publisher = await RawClient.connect(cluster.port(0), { protocolVersion: 5, clientId: `p-${topic}` });
  const userProperties = { traceparent: `00-${traceId}-00f067aa0ba902b7-01` };
  publisher.publish(topic, "x", { qos, ...(qos > 0 ? { messageId: 1 } : {}), properties: { userProperties } });
  const got = await subscriber.take("publish");
  if (qos === 1) subscriber.send({ cmd: "puback", messageId: got.messageId });
  if (qos === 2) {
    subscriber.send({ cmd: "pubrec", messageId: got.messageId });
    await subscriber.take("pubrel");
    subscriber.send({ cmd: "pubcomp", messageId: got.messageId });
  }
  if (qos > 0) await publisher.take(qos === 1 ? "puback" : "pubrec");
  const spans = await collector.trace(traceId, expected.length);
  expect(spans.map((span) => `${span.name} ${span.broker}`).sort()).toEqual([...expected]);
  const of = (broker: string) => spans.find((span) => span.name === "receive" && span.broker === broker);
  const deliver = spans.find((span) => span.name === "deliver")!;
  const last = of("b") ?? of("a")!;
  if (of("b") !== undefined) {
    expect(of("b")!.parentSpanId).toBe(of("a")!.spanId);
    expect(of("b")!.attributes["mqttzoo.from_broker"]).toBe("a");
  }
  expect(deliver.parentSpanId).toBe(last.spanId);
  const [, theirTrace, theirSpan] = got.properties.userProperties.traceparent.split("-");
  expect([theirTrace, theirSpan]).toEqual([traceId, last.spanId]);
});
