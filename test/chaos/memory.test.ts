/**
 * A broker that may have only so much memory, with a backlog of stored messages for sessions that come back all at
 * once.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClientSession } from "../../src/client/client-session.ts";
import { connect } from "../../src/client/dial.ts";
import { eventually } from "../support/broker.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/process.ts";

/** Bytes that the process may allocate: a broker that does nothing needs 230 MB of it, of which it uses 60. */
const dataBytesMax = 640 * 1024 * 1024;
const sessions = 8;
const messages = 6_000;
const payloadBytes = 8 * 1024;
/** Unacknowledged at once: the publisher does not flood the broker, the backlog does. */
const batch = 200;

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-memory-"));
const words = join(folder, "stderr");
let broker: BrokerProcess;
afterAll(async () => {
  await broker?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

async function start(): Promise<void> {
  const args = ["--bank-capital", "100000000"];
  const within = ["prlimit", `--data=${dataBytesMax}`];
  broker = await startBrokerProcess(join(folder, "data"), { args, within, stderr: words });
}

function reader(name: string, session: ClientSession, onMessage: (payload: Uint8Array) => void) {
  const options = { host: "127.0.0.1", port: broker.port, clean: false, sessionExpiryInterval: 0xffff_ffff };
  return connect({ ...options, clientId: name, session, onMessage: ({ payload }) => onMessage(payload) });
}

test(`${sessions} sessions come back to ${messages} stored messages each, and the broker keeps to its memory`, async () => {
  await start();
  const names = Array.from({ length: sessions }, (_, at) => `reader-${at + 1}`);
  const kept = new Map(names.map((name) => [name, new ClientSession()]));
  for (const name of names) {
    const client = await reader(name, kept.get(name)!, () => {});
    await client.subscribe(["backlog"], { qos: 1 });
    client.disconnect();
  }
  const publisher = await connect({ host: "127.0.0.1", port: broker.port, clientId: "publisher" });
  for (let from = 0; from < messages; from += batch) {
    const payloads = Array.from({ length: batch }, (_, at) => String(from + at).padEnd(payloadBytes, "."));
    await Promise.all(payloads.map((payload) => publisher.publish("backlog", payload, { qos: 1 })));
  }
  publisher.disconnect();
  expect(await broker.kill("SIGKILL")).not.toBe(0);
  await start();
  const received = new Map(names.map((name) => [name, new Set<number>()]));
  const readers = names.map((name) =>
    reader(name, kept.get(name)!, (payload) =>
      received.get(name)!.add(Number.parseInt(Buffer.from(payload).toString("latin1"), 10)),
    ),
  );
  const clients = await Promise.all(readers);
  const isDone = (): boolean => [...received.values()].every(({ size }) => size === messages);
  await eventually(isDone, "everybody has the whole backlog", 240_000).catch((error) => {
    const counts = [...received.values()].map(({ size }) => size);
    throw new Error(`${error.message}: ${counts.join(" ")} of ${messages}; ${readFileSync(words, "utf8").slice(-500)}`);
  });
  for (const client of clients) client.disconnect();
  // It ends as it is told to, not for want of memory.
  expect(await broker.kill("SIGTERM")).toBe(0);
}, 400_000);
