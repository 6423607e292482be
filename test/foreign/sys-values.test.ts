/** The values below `$SYS` beside those of mosquitto (Debian): the same packets are played at both. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sysIntervalMs } from "../../src/base/limits.ts";
import { freePort, untilListening } from "../bench/brokers.ts";
import { eventually, startBroker } from "../support/broker.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

/** Values that both count alike, whatever they store. */
const alike = [
  "clients/connected",
  "clients/active",
  "messages/received",
  "messages/sent",
  "bytes/received",
  "bytes/sent",
  "publish/messages/sent",
  "publish/bytes/received",
  "publish/bytes/sent",
  "subscriptions/count",
  "shared_subscriptions/count",
];
/** Values of mosquitto 2.1 that an earlier one does not have. */
const later = ["connections/socket/count", "packet/out/bytes"];
/** Values of mosquitto that this broker does not tell (src/server/README.md): its packets wait as bytes, uncounted. */
const leftOut = ["packet/out/count"];
/** Values in words; how all others look is told by mosquitto's: averages have two decimals, the rest none. */
const inWords: Record<string, RegExp> = { version: /^mqttzoo /, uptime: /^\d+ seconds$/ };
/** The publishes that are played, and those at QoS 2 among them, which mosquitto 2.0.11 does not count as received. */
const played = 34;
const playedQoS2 = 3;

/** Plays packets of every type; the last one is a PUBLISH that nobody gets, and the clients stay. */
async function play(port: number): Promise<RawClient[]> {
  const subscriber = await RawClient.connect(port, { clientId: "s" });
  await subscriber.subscribe("t/#", { qos: 2 });
  await subscriber.subscribe("gone", { qos: 0 });
  subscriber.send({ cmd: "unsubscribe", messageId: 9, unsubscriptions: ["gone"] });
  await subscriber.take("unsuback");
  await subscriber.subscribe("$share/g/shared", { qos: 1 });
  const publisher = await RawClient.connect(port, { clientId: "p" });
  await publisher.subscribe("$share/g/shared", { qos: 1 });
  await publisher.subscribe("$share/h/shared", { qos: 1 });
  let id = 0;
  const publish = async (qos: 0 | 1, payload: string): Promise<void> => {
    publisher.publish("t/x", payload, { qos, ...(qos > 0 ? { messageId: ++id } : {}) });
    const { messageId }: AnyPacket = await subscriber.take("publish");
    if (qos === 1) subscriber.send({ cmd: "puback", messageId });
    if (qos === 1) await publisher.take("puback");
  };
  for (let round = 0; round < 5; round++) {
    await publish(0, "x".repeat(10 + 40 * round));
    await publish(1, "y".repeat(round));
  }
  // Many on one topic in one chunk.
  for (let count = 0; count < 20; count++) publisher.publish("t/y", "z".repeat(count));
  await subscriber.takeMany("publish", 20);
  // At QoS 2 mosquitto waits for PUBREL before it passes a message on.
  for (let round = 1; round <= playedQoS2; round++) {
    publisher.publish("t/z", "two", { qos: 2, messageId: 100 + round });
    await publisher.take("pubrec");
    publisher.send({ cmd: "pubrel", messageId: 100 + round });
    await publisher.take("pubcomp");
    const { messageId } = await subscriber.take("publish");
    subscriber.send({ cmd: "pubrec", messageId });
    await subscriber.take("pubrel");
    subscriber.send({ cmd: "pubcomp", messageId });
  }
  const refused = await RawClient.dial(port);
  // No client id, and clean session 0: mqtt-packet does not write that.
  refused.write(Buffer.from("100c00044d515454040000000000", "hex"));
  await refused.take("connack");
  await refused.untilClosed();
  for (const client of [subscriber, publisher]) await client.ping();
  publisher.publish("nobody", "last");
  return [subscriber, publisher];
}

/** Returns what mosquitto has told when it had counted the last publish; undefined if it had not, or looked later. */
async function askMosquitto(folder: string): Promise<Map<string, string> | undefined> {
  const port = await freePort();
  const config = join(folder, `${port}.conf`);
  writeFileSync(config, `listener ${port} 127.0.0.1\nallow_anonymous true\nsys_interval 1\nlog_dest none\n`);
  const child = Bun.spawn(["mosquitto", "-c", config], { stdout: "ignore", stderr: "ignore" });
  try {
    // Looking whether it listens is a connection, without packets.
    await untilListening(port);
    await play(port);
    await Bun.sleep(2500);
    const reader = await RawClient.connect(port);
    await reader.subscribe("$SYS/broker/#");
    await reader.ping();
    const told = new Map<string, string>();
    // What is retained comes first; what is published meanwhile counts this reader, too.
    for (const { cmd, topic, payload, retain } of reader.packets)
      if (cmd === "publish" && retain) told.set(topic.slice("$SYS/broker/".length), String(payload));
    return told.get("publish/messages/received") === String(played - playedQoS2) ? told : undefined;
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
}

test("the values are mosquitto's, under its names, for the same packets", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-sys-"));
  const broker = await startBroker();
  try {
    let theirs: Map<string, string> | undefined;
    for (let tries = 0; tries < 5 && theirs === undefined; tries++) theirs = await askMosquitto(folder);
    await play(broker.port);
    const { retained, timers, clock, metrics } = broker.server.broker.context;
    await eventually(() => metrics.publishesReceived === played, "all has come");
    timers.tick(clock.now() + sysIntervalMs);
    const ours = (name: string): string | undefined => {
      const publish = retained.get(`$SYS/broker/${name}`)?.publish;
      return (
        publish && new TextDecoder().decode(publish.payloadBytes.subarray(publish.payloadStart, publish.payloadEnd))
      );
    };
    const count = String(played);
    await eventually(() => ours("publish/messages/received") === count, "it is told");
    const values = (of: (name: string) => string | undefined) => alike.map((name) => [name, of(name)]);
    expect(values(ours)).toEqual(values((name) => theirs!.get(name)));
    // All that it tells, by its names and in its units, whatever it is.
    expect(theirs!.size).toBeGreaterThan(45);
    const told = [...theirs!.keys(), ...later].filter((name) => !leftOut.includes(name));
    for (const name of told)
      expect([name, ours(name)]).toEqual([
        name,
        expect.stringMatching(inWords[name] ?? (name.startsWith("load/") ? /^\d+\.\d\d$/ : /^\d+$/)),
      ]);
  } finally {
    await broker.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}, 120_000);
