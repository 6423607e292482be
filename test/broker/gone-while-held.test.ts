/**
 * Clients that go while their connections are not read: who does not read sees no end, and yet such a client must not
 * be counted, and its will not be kept back, for long.
 */
import { expect, test } from "bun:test";
import { heldLookMs, heldProbeMs, heldUnreadBytesMax, journalBytesMax, silenceLookMs } from "../../src/base/limits.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { leaveCredits } from "../support/credits.ts";
import { instantCoordinator } from "../support/instant-coordinator.ts";
import { machine } from "../support/machine.ts";
import { RawClient } from "../support/raw-client.ts";

/** A client id of six characters, with Keep Alive in seconds, as hex. */
const connect = (id: string, keepAlive = "0000"): string =>
  `1012 0004 4d515454 04 02 ${keepAlive} 0006 ${Buffer.from(id).toString("hex")}`;
const subscribe = "8206 0001 0001 77 00";
const pingreq = "c000";

/** A client at a broker whose store does not answer: it is held, since it has made work for the store. */
async function held(keepAlive?: string) {
  const coordinator = instantCoordinator();
  const { broker, dial, pass } = await machine(coordinator);
  const device = dial();
  device.send(connect("device", keepAlive));
  await Promise.resolve();
  coordinator.answers = false;
  const data = new Uint8Array(journalBytesMax);
  broker.context.journal.commit([{ kind: "put", path: "/x", data, exists: true }]);
  device.send(subscribe);
  expect([device.connection.isHeld, device.state.isRead]).toEqual([true, false]);
  return { ...device, broker, pass };
}

test("a connection that is held for long is listened to, as long as little waits", async () => {
  const { connection, state, send, pass } = await held();
  pass(heldLookMs);
  expect([state.isRead, state.probes]).toEqual([false, 0]);
  pass(heldLookMs);
  expect([state.isRead, state.probes, connection.isHeld]).toEqual([true, 1, true]);
  send(pingreq);
  expect([state.isRead, connection.framer.pendingBytes]).toEqual([true, 2]);
  send(pingreq.repeat(heldUnreadBytesMax / 2));
  expect([state.isRead, connection.framer.pendingBytes]).toEqual([false, heldUnreadBytesMax + 2]);
  pass(10 * heldLookMs);
  expect(state.isRead).toBe(false);
  // The kernel is asked again, for what is not listened to.
  expect(state.probes).toBeGreaterThan(1);
});

test("who is held for moments only is not listened to", async () => {
  const coordinator = instantCoordinator();
  const { dial, pass } = await machine(coordinator);
  const { connection, state, send } = dial();
  send(connect("device"));
  await Promise.resolve();
  for (let moment = 0; moment < 10; moment++) {
    connection.hold(64);
    pass(heldLookMs);
    expect(state.isRead).toBe(false);
    connection.release(64);
    connection.hold(64);
  }
  expect(state.probes).toBe(0);
});

test("who is listened to and silent for longer than the keep alive allows is gone; who is not cannot be blamed", async () => {
  const { state, pass, send, broker } = await held("0014");
  pass(2 * heldLookMs + 29_000);
  expect(state.closed).toBe(false);
  send(pingreq);
  pass(29_000);
  expect(state.closed).toBe(false);
  pass(1_000 + silenceLookMs);
  expect([state.closed, broker.context.metrics.connections]).toEqual([true, 0]);

  const other = await held("0014");
  other.send(pingreq.repeat(heldUnreadBytesMax));
  other.pass(600_000);
  expect(other.state.closed).toBe(false);
});

/** A publisher before MQTT 5 is not read while the bank cannot pay, and may wait for that for ten minutes. */
async function poor(): Promise<TestBroker> {
  const broker = await startBroker({ bankWait: 600 });
  const away = await RawClient.connect(broker.port, { clean: false, clientId: "away" });
  await away.subscribe("poor", { qos: 1 });
  away.disconnect();
  await away.untilClosed();
  await eventually(() => broker.server.broker.context.metrics.connections === 0, "only the publisher is left");
  // Enough for a will, and not for a message.
  await leaveCredits(broker.server.broker.context, 90);
  return broker;
}

test("a held client that has closed is gone after two looks, and its will is published", async () => {
  const broker = await poor();
  const { metrics, localSessions } = broker.server.broker.context;
  const watcher = await RawClient.connect(broker.port);
  await watcher.subscribe("will", { qos: 0 });
  const will = { topic: "will", payload: "gone", qos: 0, retain: false };
  const publisher = await RawClient.connect(broker.port, { clientId: "publisher", will });
  publisher.publish("poor", "x".repeat(1000), { qos: 1, messageId: 1 });
  const { connection } = localSessions.get("publisher")!;
  await eventually(() => connection!.isHeld, "it is held");
  publisher.close();
  expect((await watcher.take("publish")).payload.toString()).toBe("gone");
  await eventually(() => metrics.connections === 1, "it is not counted any more");
  await broker.stop();
}, 120_000);

/** Connects, sends what is given, and closes when a line comes; the kernel forgets the connection after a second. */
const client = `
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)
s.sendall(bytes.fromhex(sys.stdin.readline()))
s.recv(4)
s.sendall(bytes.fromhex(sys.stdin.readline()))
print("sent", flush=True)
sys.stdin.readline()
s.close()
print("closed", flush=True)
sys.stdin.readline()
`;

test("... also when the end stands behind more than is taken of what it has sent", async () => {
  const broker = await poor();
  const { metrics, localSessions } = broker.server.broker.context;
  const python = Bun.spawn(["python3", "-c", client, String(broker.port)], { stdin: "pipe", stdout: "pipe" });
  const line = (text = ""): void => {
    python.stdin.write(`${text.replaceAll(" ", "")}\n`);
    python.stdin.flush();
  };
  const publish = `32 d107 0004 ${Buffer.from("poor").toString("hex")} 0001 ${"78".repeat(969)}`;
  const filler = `30 8020 0004 ${Buffer.from("none").toString("hex")} ${"78".repeat(4090)}`;
  line(connect("device"));
  line(publish + filler.repeat(40));
  const { connection } = await untilThere(() => localSessions.get("device"));
  await eventually(
    () => connection!.framer.pendingBytes > heldUnreadBytesMax,
    "more waits than is taken",
    4 * heldLookMs,
  );
  line();
  await eventually(() => metrics.connections === 0, "it is not counted any more", 4 * heldLookMs + 4 * heldProbeMs);
  python.kill();
  await broker.stop();
}, 120_000);

async function untilThere<Thing>(find: () => Thing | undefined): Promise<Thing> {
  await eventually(() => find() !== undefined, "it is there");
  return find()!;
}
