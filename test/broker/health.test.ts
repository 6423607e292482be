/** Probes and metrics over HTTP. */
import { expect, test } from "bun:test";
import { freePort } from "../bench/brokers.ts";
import { eventually, startBroker } from "../support/broker.ts";
import { leaveCredits } from "../support/credits.ts";
import { RawClient } from "../support/raw-client.ts";

async function get(port: number, path: string): Promise<{ status: number; body: string; type: string | null }> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  return { status: response.status, body: await response.text(), type: response.headers.get("content-type") };
}

/** The samples of a page, by name and labels. */
function samplesOf(page: string): Map<string, number> {
  const lines = page.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ")))]),
  );
}

test("probes say yes with reasons; other paths and methods are told what there is", async () => {
  const httpPort = await freePort();
  const broker = await startBroker({ httpPort, httpHost: "127.0.0.1" });
  for (const path of ["/livez", "/startupz", "/readyz"]) {
    const { status, body, type } = await get(httpPort, path);
    expect([status, type]).toEqual([200, "application/json"]);
    const { ok, checks } = JSON.parse(body);
    expect(ok).toBe(true);
    for (const check of checks) expect(check).toEqual({ name: expect.any(String), ok: true, why: expect.any(String) });
  }
  expect((await get(httpPort, "/nothing")).status).toBe(404);
  expect((await fetch(`http://127.0.0.1:${httpPort}/livez`, { method: "POST" })).status).toBe(405);
  await expect(startBroker({ httpPort, httpHost: "127.0.0.1" })).rejects.toThrow("choose another with --http-port");
  const lag = async (): Promise<number> =>
    samplesOf((await get(httpPort, "/metrics")).body).get("mqttzoo_event_loop_lag_seconds_count") ?? 0;
  await eventually(async () => (await lag()) > 0, "the event loop's lag is measured");
  await broker.stop();
});

test("metrics: counters by QoS and reason, histograms whose buckets add up, names by Prometheus' conventions", async () => {
  const httpPort = await freePort();
  const broker = await startBroker({ httpPort, httpHost: "127.0.0.1" });
  const away = await RawClient.connect(broker.port, { clean: false, clientId: "away" });
  await away.subscribe("m/#", { qos: 1 });
  away.disconnect();
  await away.untilClosed();
  await leaveCredits(broker.server.broker.context, 250);
  const client = await RawClient.connect(broker.port, { protocolVersion: 5 });
  await client.subscribe("live", { qos: 2 });
  for (const qos of [0, 1, 2]) client.publish("live", "x", { qos, messageId: qos === 0 ? undefined : qos });
  await client.takeMany("publish", 3);
  client.publish("m/1", "x", { qos: 1, messageId: 7, properties: { messageExpiryInterval: 30 } });
  await eventually(() => client.packets.some(({ cmd, messageId }) => cmd === "puback" && messageId === 7), "stored");
  client.publish("m/2", "x".repeat(5000), { qos: 1, messageId: 8 });
  await eventually(() => client.packets.some(({ reasonCode }) => reasonCode === 0x97), "refused");
  const { body, type } = await get(httpPort, "/metrics");
  expect(type).toContain("text/plain");
  const samples = samplesOf(body);
  expect(samples.get("mqttzoo_connections")).toBe(1);
  for (const [qos, count] of [1, 3, 1].entries()) {
    expect(samples.get(`mqttzoo_messages_received_total{qos="${qos}"}`)).toBe(count);
    expect(samples.get(`mqttzoo_messages_sent_total{qos="${qos}"}`)).toBe(1);
  }
  expect(samples.get('mqttzoo_messages_refused_total{reason="bank"}')).toBe(1);
  expect(samples.get("mqttzoo_bank_messages")).toBe(1);
  expect(samples.get("mqttzoo_bank_capital_credits")).toBe(broker.server.broker.context.bankAccount.capital / 1000);
  expect(samples.get("mqttzoo_store_connected")).toBe(1);
  expect(samples.get("mqttzoo_mailbox_messages")).toBe(1);
  // Four had one receiver each, at whatever QoS; what was refused has reached nobody.
  expect(samples.get('mqttzoo_fanout_receivers_bucket{le="1"}')).toBe(4);
  expect(samples.get("mqttzoo_fanout_receivers_sum")).toBe(4);
  // One went to who was there, at QoS 2 another packet id was stored, and so was a message.
  const acks = (path: string) => samples.get(`mqttzoo_publish_ack_seconds_count{path="${path}"}`);
  expect(["live", "acknowledged_through", "stored"].map(acks)).toEqual([2, 0, 1]);
  for (const name of ["mqttzoo_store_commit_seconds", "mqttzoo_fanout_receivers"]) {
    const buckets = [...samples].filter(([key]) => key.startsWith(`${name}_bucket`)).map(([, value]) => value);
    expect(buckets).toEqual(buckets.toSorted((a, b) => a - b));
    expect(buckets.at(-1)).toBe(samples.get(`${name}_count`)!);
    expect(samples.get(`${name}_count`)).toBeGreaterThan(0);
  }
  for (const line of body.split("\n").filter((text) => text.startsWith("# TYPE"))) {
    const [, , name, kind] = line.split(" ") as [string, string, string, string];
    expect(name).toMatch(/^(mqttzoo|process)_[a-z_]+$/);
    expect(name.endsWith("_total")).toBe(kind === "counter");
  }
  // Prometheus' own judge of names, units and descriptions.
  const lint = Bun.spawnSync(["promtool", "check", "metrics"], { stdin: Buffer.from(body) });
  expect([lint.exitCode, lint.stdout.toString(), lint.stderr.toString()]).toEqual([0, "", ""]);
  const since = samples.get("process_start_time_seconds")!;
  expect(Math.abs(Date.now() / 1000 - process.uptime() - since)).toBeLessThan(5);
  expect(samples.get("process_open_fds")).toBeGreaterThan(3);
  expect(samples.get("process_max_fds")).toBeGreaterThan(samples.get("process_open_fds")!);
  await broker.stop();
});

test("acks by what they waited for: who was there, clients of persistent sessions, the store", async () => {
  const httpPort = await freePort();
  const broker = await startBroker({ httpPort, httpHost: "127.0.0.1", settleAfter: 300 });
  const counts = async (): Promise<(number | undefined)[]> => {
    const samples = samplesOf((await get(httpPort, "/metrics")).body);
    return ["live", "acknowledged_through", "stored"].map((path) =>
      samples.get(`mqttzoo_publish_ack_seconds_count{path="${path}"}`),
    );
  };
  const home = await RawClient.connect(broker.port, { clean: false, clientId: "home" });
  await home.subscribe("kept", { qos: 1 });
  await home.subscribe("brief", { qos: 0 });
  const client = await RawClient.connect(broker.port, { protocolVersion: 5 });
  let messageId = 0;
  const publish = (topic: string, more = {}): void =>
    client.publish(topic, "x", { qos: 1, messageId: ++messageId, ...more });
  publish("nobody");
  publish("brief");
  await client.takeMany("puback", 2);
  expect(await counts()).toEqual([2, 0, 0]);
  publish("kept");
  const [, kept] = await home.takeMany("publish", 2);
  home.send({ cmd: "puback", messageId: kept!.messageId });
  await client.take("puback");
  expect(await counts()).toEqual([2, 1, 0]);
  // Its client does not acknowledge it in time.
  publish("kept");
  await client.take("puback");
  expect(await counts()).toEqual([2, 1, 1]);
  publish("retained", { retain: true });
  await client.take("puback");
  expect(await counts()).toEqual([2, 1, 2]);
  await broker.stop();
});
