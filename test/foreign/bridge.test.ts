/** A bridge of mosquitto's (Debian) to this broker, with a user and an access list. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, untilListening } from "../bench/brokers.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-bridge-"));
const state = "$SYS/broker/connection/near.out/state";
const user = { username: "alice", password: "secret" };
/** Two access lists for the bridge's user; by the second one it may also tell its state. */
const lists = [
  "user alice\ntopic readwrite #\n",
  `user alice\ntopic readwrite #\npattern write ${state.replace("near.out", "%c")}\n`,
];

beforeAll(async () => {
  // mosquitto gives up root, and reads its files after that.
  chmodSync(folder, 0o755);
  const hash = await Bun.$`mosquitto_passwd -b -c ${join(folder, "users")} alice secret`.quiet();
  expect(hash.exitCode).toBe(0);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Starts a mosquitto that passes on what is below x/ in both directions. */
async function startBridge(to: number): Promise<{ readonly port: number; stop(): Promise<void> }> {
  const port = await freePort();
  const config = join(folder, `bridge-${port}.conf`);
  const login = `remote_username ${user.username}\nremote_password ${user.password}`;
  writeFileSync(
    config,
    `listener ${port} 127.0.0.1\nallow_anonymous true\nlog_dest none
connection out\naddress 127.0.0.1:${to}\nremote_clientid near.out\n${login}\nrestart_timeout 1\ntopic x/# both 1\n`,
  );
  const child = Bun.spawn(["mosquitto", "-c", config], { stdout: "ignore", stderr: "ignore" });
  await untilListening(port);
  return {
    port,
    async stop() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

/** Publishes at one broker until it has come to another one. */
async function pass(from: RawClient, to: RawClient, payload: string): Promise<void> {
  await to.subscribe("x/#", { qos: 1 });
  await eventually(async () => {
    from.publish("x/1", payload, { qos: 1, messageId: 1 });
    await from.take("puback");
    return to.packets.some((packet: AnyPacket) => packet.cmd === "publish" && String(packet.payload) === payload);
  }, `${payload} comes through the bridge`);
}

test.each([
  ["that does not name its state: that is not shown", lists[0]!, false],
  ["that names its state: 1 while it is connected, 0 by its will", lists[1]!, true],
] as const)("passes on both ways under a list %s", async (_, list, isShown) => {
  const aclFile = join(folder, "acl");
  writeFileSync(aclFile, list);
  const broker: TestBroker = await startBroker({ passwordFile: join(folder, "users"), aclFile });
  const bridge = await startBridge(broker.port);
  try {
    const far = await RawClient.connect(broker.port, user);
    const near = await RawClient.connect(bridge.port);
    await pass(far, near, "outwards");
    await pass(near, far, "inwards");
    const { retained, metrics } = broker.server.broker.context;
    const told = (): string | undefined => {
      const publish = retained.get(state)?.publish;
      return publish && String.fromCharCode(...publish.payloadBytes.subarray(publish.payloadStart, publish.payloadEnd));
    };
    if (isShown) await eventually(() => told() === "1", "it says that it is connected");
    await bridge.stop();
    if (isShown) await eventually(() => told() === "0", "its will says that it is not");
    else await eventually(() => metrics.forbidden.will > 0 && metrics.connections === 1, "it is gone");
    expect(told()).toBe(isShown ? "0" : undefined);
  } finally {
    await bridge.stop();
    await broker.stop();
  }
});
