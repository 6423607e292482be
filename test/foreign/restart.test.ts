/** Clients of others, and ours, while their broker is restarted as an operator does it: all come back by themselves. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../bench/brokers.ts";
import { eventually } from "../support/broker.ts";
import { killedAtExit } from "../support/children.ts";
import { type BrokerProcess, executable, startBrokerProcess } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-restart-"));
let broker: BrokerProcess;
beforeAll(async () => {
  broker = await startBrokerProcess(folder);
});
afterAll(async () => {
  await broker.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

const mosquitto = (version: string): readonly string[] => ["mosquitto_sub", "-V", version, "-t", "restart", "-p"];
const paho = ["/usr/bin/python3", join(import.meta.dir, "through_restart.py")];
const mqttjs = ["node", join(import.meta.dir, "through_restart.mjs")];
/** The words before the port, and those behind it. */
const clients: Readonly<Record<string, readonly [readonly string[], readonly string[]]>> = {
  "mosquitto_sub 3.1": [mosquitto("31"), []],
  "mosquitto_sub 3.1.1": [mosquitto("311"), []],
  "mosquitto_sub 5": [mosquitto("5"), []],
  "paho-mqtt 3.1.1": [paho, ["311"]],
  "paho-mqtt 5": [paho, ["5"]],
  "MQTT.js 3.1.1": [mqttjs, ["4"]],
  "MQTT.js 5": [mqttjs, ["5"]],
  "mqttzoo sub": [[executable, "sub", "-t", "restart", "-p"], []],
};

interface Running {
  readonly name: string;
  /** The lines that it has printed. */
  readonly lines: string[];
  readonly child: Bun.Subprocess;
}

function run(name: string): Running {
  const [before, after] = clients[name]!;
  const command = [...before, String(broker.port), ...after];
  const child = killedAtExit(Bun.spawn(command, { stdout: "pipe", stderr: "ignore" }));
  const lines: string[] = [];
  void (async () => {
    for await (const chunk of child.stdout) lines.push(...new TextDecoder().decode(chunk).split("\n"));
  })();
  return { name, lines, child };
}

/** Publishes a text until all have printed it. Fails with the names of those that do not. */
async function untilAllHave(running: readonly Running[], text: string): Promise<void> {
  const missing = (): string[] => running.filter(({ lines }) => !lines.includes(text)).map(({ name }) => name);
  const client = await RawClient.connect(broker.port);
  await eventually(
    async () => {
      client.publish("restart", text);
      await client.ping();
      return missing().length === 0;
    },
    `"${text}" at each`,
    60_000,
  ).catch(() => {});
  expect(missing()).toEqual([]);
  client.abort();
}

test("SIGTERM, and there again", async () => {
  const running = Object.keys(clients).map(run);
  await untilAllHave(running, "before");
  expect(await broker.kill("SIGTERM")).toBe(0);
  broker = await startBrokerProcess(folder, { port: broker.port });
  await untilAllHave(running, "after");
  for (const { child } of running) child.kill("SIGKILL");
}, 150_000);

test("a bridge of mosquitto's that speaks MQTT 5", async () => {
  const port = await freePort();
  const config = join(folder, "bridge.conf");
  const lines = ["listener PORT 127.0.0.1", "allow_anonymous true", "connection a", `address 127.0.0.1:${broker.port}`];
  const more = ["bridge_protocol_version mqttv50", "topic restart in 0", "restart_timeout 1"];
  writeFileSync(config, [...lines, ...more].join("\n").replace("PORT", String(port)));
  const bridge = killedAtExit(Bun.spawn(["mosquitto", "-c", config], { stdout: "ignore", stderr: "ignore" }));
  await eventually(
    async () =>
      RawClient.connect(port).then(
        () => true,
        () => false,
      ),
    "mosquitto listens",
  );
  const subscriber = await RawClient.connect(port);
  await subscriber.subscribe("restart");
  const untilItHas = async (text: string): Promise<void> => {
    const publisher = await RawClient.connect(broker.port);
    const has = (): boolean => subscriber.packets.some(({ payload }) => String(payload) === text);
    await eventually(
      async () => {
        publisher.publish("restart", text);
        await publisher.ping();
        return has();
      },
      `"${text}" through the bridge`,
      60_000,
    );
    publisher.abort();
  };
  await untilItHas("before");
  await broker.kill("SIGTERM");
  broker = await startBrokerProcess(folder, { port: broker.port });
  await untilItHas("after");
  bridge.kill("SIGKILL");
}, 150_000);
