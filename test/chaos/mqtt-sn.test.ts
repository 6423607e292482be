/**
 * Sleepers whose broker is killed, again and again: real processes, devices of MQTT-SN that wake at other addresses,
 * and a publisher that counts what was acknowledged. MQTTZOO_SN_KILLS sets another number.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../src/client/for-bun.ts";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { lossyNetwork } from "../support/lossy.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/process.ts";
import { SnDevice } from "../support/sn-device.ts";
import { freeUdpPort } from "../support/udp-port.ts";

const kills = Number(process.env.MQTTZOO_SN_KILLS ?? 8);
const sleepers = ["alpha", "beta", "gamma"];
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-sn-kill-"));
let broker: BrokerProcess | undefined;
afterAll(async () => {
  await broker?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

test(`${kills} kills: what was acknowledged reaches every sleeper, in order`, async () => {
  const [port, snPort] = [await freePort(), await freeUdpPort()];
  const args = ["--sn-port", `${snPort}`, "--sn-retry", "60"];
  broker = await startBrokerProcess(folder, { port, args });
  for (const name of sleepers) {
    const device = await SnDevice.open(snPort, name);
    await device.connect();
    await device.subscribe("mail/#", 1);
    await device.sleep(3600);
    device.close();
  }
  const got = new Map(sleepers.map((name) => [name, [] as string[]]));
  const acknowledged: string[] = [];
  const client = await connect(`mqtt://127.0.0.1:${port}`, { reconnect: { minMs: 10, maxMs: 100 } });
  for (let kill = 0; kill < kills; kill++) {
    const texts = Array.from({ length: 25 }, (_, index) => `${kill}-${index}`);
    const published = (async () => {
      for (const text of texts) {
        await client.publish("mail/x", text, { qos: 1 });
        acknowledged.push(text);
      }
    })();
    // In the middle of it, or of a device's waking.
    await eventually(() => acknowledged.length >= kill * 25 + 10, "some messages");
    const waking = await SnDevice.open(snPort, sleepers[kill % sleepers.length]!, lossyNetwork(kill, 20));
    const fetched = waking.fetch().catch(() => {});
    await eventually(() => kill % 2 === 0 || waking.got.length > 0, "the device has been sent something");
    await broker.kill("SIGKILL");
    broker = await startBrokerProcess(folder, { port, args });
    await Promise.all([published, fetched]);
    got.get(waking.clientId)!.push(...waking.got);
    waking.close();
  }
  for (const [name, before] of got) {
    const device = await SnDevice.open(snPort, name);
    await eventually(async () => {
      await device.fetch().catch(() => {});
      return acknowledged.every((text) => before.includes(text) || device.got.includes(text));
    }, `all mail of ${name}`);
    device.close();
    // A kill may bring again what was not acknowledged; in its first order nothing is missing or turned round.
    const firsts = [...new Set([...before, ...device.got])];
    expect(firsts.filter((text) => acknowledged.includes(text))).toEqual(acknowledged);
  }
  await client.end();
}, 300_000);
