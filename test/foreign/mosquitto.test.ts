/** mosquitto_pub and mosquitto_sub (Debian) against the executable. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../support/broker.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-mosquitto-"));
let broker: BrokerProcess;
beforeAll(async () => {
  broker = await startBrokerProcess(folder);
});
afterAll(async () => {
  await broker.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

async function run(command: string, ...args: string[]): Promise<{ code: number; out: string }> {
  const child = Bun.spawn([command, "-h", "127.0.0.1", "-p", String(broker.port), ...args], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const out = await new Response(child.stdout).text();
  return { code: await child.exited, out };
}

const versions = ["31", "311", "5"] as const;

test.each(versions.flatMap((version) => [0, 1, 2].map((qos) => [version, String(qos)] as const)))(
  "version %s, QoS %s",
  async (version, qos) => {
    const topic = `m/${version}/${qos}`;
    let ended: { code: number; out: string } | undefined;
    void run("mosquitto_sub", "-V", version, "-q", qos, "-t", topic, "-C", "3", "-W", "10", "-F", "%t %q %p").then(
      (value) => {
        ended = value;
      },
    );
    await eventually(async () => {
      if (ended === undefined) await run("mosquitto_pub", "-V", version, "-q", qos, "-t", topic, "-m", "x");
      return ended !== undefined;
    }, "three messages");
    expect(ended).toEqual({ code: 0, out: `${topic} ${qos} x\n`.repeat(3) });
  },
);

test("a persistent session is handed a thousand messages in order", async () => {
  const session = ["-c", "-i", "keeper", "-q", "1", "-t", "keep/#"];
  await run("mosquitto_sub", ...session, "-E");
  const publisher = Bun.spawn(
    ["mosquitto_pub", "-h", "127.0.0.1", "-p", String(broker.port), "-q", "1", "-t", "keep/x", "-l"],
    { stdin: "pipe" },
  );
  const lines = Array.from({ length: 1000 }, (_, index) => `line ${index}`);
  publisher.stdin.write(`${lines.join("\n")}\n`);
  publisher.stdin.end();
  await publisher.exited;
  const { out } = await run("mosquitto_sub", ...session, "-C", "1000", "-W", "10");
  expect(out.trim().split("\n")).toEqual(lines);
});

test("MQTT 5 properties pass through", async () => {
  const args = ["-V", "5", "-t", "props", "-C", "1", "-W", "10", "-F", "%p %C %R %P %D"];
  await run(
    "mosquitto_pub",
    "-V",
    "5",
    "-t",
    "props",
    "-m",
    "x",
    "-r",
    "-D",
    "publish",
    "content-type",
    "text/x",
    "-D",
    "publish",
    "response-topic",
    "answer",
    "-D",
    "publish",
    "user-property",
    "k",
    "v",
    "-D",
    "publish",
    "correlation-data",
    "data",
  );
  expect((await run("mosquitto_sub", ...args)).out).toBe("x text/x answer k:v data\n");
});

test("a will of mosquitto_sub that is killed", async () => {
  const port = String(broker.port);
  const watcher = run("mosquitto_sub", "-t", "will", "-C", "1", "-W", "10");
  const will = ["--will-topic", "will", "--will-payload", "gone", "--will-retain"];
  const mortal = Bun.spawn(["mosquitto_sub", "-h", "127.0.0.1", "-p", port, "-t", "x", ...will], { stdout: "pipe" });
  let heard = false;
  void mortal.stdout
    .getReader()
    .read()
    .then(() => {
      heard = true;
    });
  await eventually(async () => (await run("mosquitto_pub", "-t", "x", "-m", "probe")).code === 0 && heard, "it hears");
  mortal.kill("SIGKILL");
  expect((await watcher).out).toBe("gone\n");
});
