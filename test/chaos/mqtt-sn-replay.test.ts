/** Packets of a protected device that are recorded, and sent again to a broker that was killed and started again. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { snCountersHeldMax } from "../../src/base/sn-limits.ts";
import { connect } from "../../src/client/for-bun.ts";
import type { SnMessage } from "../../src/mqttsn/message-kinds.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/process.ts";
import { SnClient } from "../support/sn-client.ts";
import { deviceKey, deviceSender, protectedBy } from "../support/sn-protected.ts";
import { freeUdpPort } from "../support/udp-port.ts";

const kills = 3;
/** Packets that may wait for the store at once. */
const heldMax = snCountersHeldMax - 1;
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-sn-replay-"));
let broker: BrokerProcess | undefined;
afterAll(async () => {
  await broker?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** A device may have to count past what its broker was granted ahead before it was killed; it never sends much here. */
const triesMax = 12;

test(`${kills} kills: what was recorded is published once, and the device goes on`, async () => {
  const keys = join(folder, "keys");
  writeFileSync(keys, `${deviceSender},${deviceKey}\n`);
  const [port, snPort] = [await freePort(), await freeUdpPort()];
  const args = ["--sn-port", `${snPort}`, "--sn-2", "--sn-keys", keys];
  broker = await startBrokerProcess(folder, { port, args });
  const client = await connect(`mqtt://127.0.0.1:${port}`, { reconnect: { minMs: 10, maxMs: 100 } });
  const got: string[] = [];
  const subscription = await client.subscribe("meter/#", { qos: 2 });
  void (async () => {
    for await (const { text } of subscription) got.push(text);
  })();
  const codec = protectedBy(0);
  const device = await SnClient.open(snPort, undefined, codec);
  const recorded: Uint8Array[] = [];
  const say = (message: SnMessage): void => {
    recorded.push(codec.encode(message));
    device.sendBytes(recorded.at(-1)!);
  };
  const none = { will: undefined, packetBytesMax: 0, allowsMoves: false, method: undefined, awakeMax: 0 };
  const of2 = { messageId: 1, expiry: 0, ...none };
  const head = { kind: "publish", dup: false, qos: 1, retain: false, topicKind: 0, topicId: 0 } as const;
  const thieves: SnClient[] = [];
  const enter = async (): Promise<void> => {
    // As a device does that is not answered.
    let tries = 0;
    await eventually(() => {
      if (tries++ % 10 === 0)
        say({ kind: "connect", will: false, clean: true, protocolId: 2, duration: 600, clientId: "meter", of2 });
      return device.inbox.some(({ kind }) => kind === "connack");
    }, "it is let in");
    expect(tries).toBeLessThan(10 * triesMax);
    await device.take("connack");
  };
  for (let kill = 0; kill < kills; kill++) {
    await enter();
    const text = `value ${kill}`;
    const data = new TextEncoder().encode(text);
    say({ ...head, topic: "meter/value", messageId: kill + 1, data });
    await device.take("puback");
    await eventually(() => got.at(-1) === text, "it is published");
    device.inbox.length = 0;
    await broker.kill("SIGKILL");
    broker = await startBrokerProcess(folder, { port, args });
    await client.publish("meter/sync", "sync", { qos: 1 });
    await eventually(() => got.at(-1) === "sync", "the reader is back");
    const thief = await SnClient.open(snPort, undefined, codec);
    for (const bytes of recorded.slice(-heldMax)) thief.sendBytes(bytes);
    thieves.push(thief);
  }
  // What the device says comes after all that was said in its name before.
  await enter();
  expect(got.filter((text) => text !== "sync")).toEqual(Array.from({ length: kills }, (_, kill) => `value ${kill}`));
  expect(thieves.flatMap(({ inbox }) => inbox)).toEqual([]);
  for (const one of [device, ...thieves]) one.close();
  await client.end();
}, 120_000);
