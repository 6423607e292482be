/**
 * kill -9 under load, fifty times: real processes, persistent publishers and subscribers that come back
 * each time, and the whole history judged at the end. MQTTZOO_KILLS sets another number.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { audit } from "../../src/audit/audit.ts";
import { takeWeighed } from "../../src/audit/snapshot.ts";
import { sweepMs } from "../../src/base/bank-limits.ts";
import { decodeUtf8 } from "../../src/base/bytes.ts";
import { ClientSession } from "../../src/client/client-session.ts";
import { connect } from "../../src/client/dial.ts";
import { openReader } from "../../src/embedded/reader.ts";
import type { QoS } from "../../src/mqtt/constants.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/process.ts";
import { History } from "./history.ts";
import { Publisher, Worker } from "./workers.ts";

const kills = Number(process.env.MQTTZOO_KILLS ?? 50);
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-kill-"));
const history = new History();
let broker: BrokerProcess;
let port: number;
afterAll(async () => {
  await broker?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

const where = (): number => port;
const publisher = (name: string, qos: QoS): Publisher => new Publisher(name, { qos, prefix: "kill", history, where });
const subscriber = (name: string): Worker => new Worker(name, { session: new ClientSession(), history, where });

const publishers = [publisher("p1", 1), publisher("p2", 2), publisher("p3", 1), publisher("p4", 2)];
const home = subscriber("home");
const visitor = subscriber("visitor");
let retainedAcknowledged = -1;
let retainedSent = -1;

async function everybodyBack(): Promise<void> {
  await Promise.all([...publishers, home, visitor].map((worker) => worker.comeBack()));
}

/** One life of the broker. */
async function life(ms: number): Promise<void> {
  await everybodyBack();
  const endAt = performance.now() + ms;
  const visitorLeavesAt = performance.now() + ms * Math.random();
  while (performance.now() < endAt) {
    for (const publisher of publishers) publisher.pump();
    retain();
    if (visitor.up && performance.now() > visitorLeavesAt) visitor.client!.disconnect();
    await Bun.sleep(1);
  }
  // Now and then an orderly end: it must keep the same promises.
  await broker.kill(Math.random() < 0.3 ? "SIGTERM" : "SIGKILL");
  await eventually(() => [...publishers, home].every(({ up }) => !up), "clients notice the kill");
}

function retain(): void {
  if (!home.up || retainedSent > retainedAcknowledged + 5) return;
  const value = ++retainedSent;
  const note = (): void => {
    retainedAcknowledged = Math.max(retainedAcknowledged, value);
  };
  home.client!.publish("retained/value", String(value), { qos: 1, retain: true }).then(note, () => {
    retainedSent = Math.max(retainedSent, value);
  });
}

test(`${kills} kills lose nothing`, async () => {
  port = await freePort();
  broker = await startBrokerProcess(folder, { port });
  await everybodyBack();
  for (const subscriber of [home, visitor]) await subscriber.client!.subscribe(["kill/#"], { qos: 2 });
  for (let kill = 1; kill <= kills; kill++) {
    await life(50 + Math.random() * 300);
    broker = await startBrokerProcess(folder, { port });
  }
  await everybodyBack();
  await eventually(
    () => publishers.every(({ session }) => session.outgoing.size === 0),
    "all publishes are settled",
    60_000,
  );
  // Quiet: nothing has come for a while, and the mailboxes are empty.
  let before = -1;
  const total = (): number => history.receivedCount("home") + history.receivedCount("visitor");
  while (before !== total()) {
    before = total();
    await Bun.sleep(1000);
  }
  console.log(
    `${kills} kills, ${history.sent.length} sent, ${history.acknowledgedCount} acknowledged, ${total()} received`,
  );
  expect(history.sent.length).toBeGreaterThan(kills * 10);
  const snapshot = await takeWeighed(openReader(folder), Date.now());
  expect(audit(snapshot!, { graceMs: 2 * sweepMs })).toEqual([]);
  expect(snapshot!.messages.filter(({ isRetained }) => !isRetained)).toEqual([]);
  expect(history.judge("home")).toEqual([]);
  expect(history.judge("visitor")).toEqual([]);
  const seen: number[] = [];
  const reader = await connect({
    host: "127.0.0.1",
    port,
    onMessage: ({ payload }) => void seen.push(Number(decodeUtf8(payload))),
  });
  await reader.subscribe(["retained/value"], { qos: 1 });
  await eventually(() => seen.length > 0, "the retained message");
  expect(seen[0]).toBeGreaterThanOrEqual(retainedAcknowledged);
  expect(seen[0]).toBeLessThanOrEqual(retainedSent);
}, 600_000);
