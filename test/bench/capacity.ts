/**
 * `bun run bench:capacity`: how much credit one ZooKeeper server carries. Its heap is filled with all that lasts, at a
 * broker whose bank is never empty, until the server does not serve any more; each step says how many credits were
 * bound, and what lived in the heap. Needs `jcmd`, of a JDK.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqttPacket from "mqtt-packet";
import { heapBytes, liveHeapBytes } from "../support/java-heap.ts";
import { executable } from "../support/process.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";
import { startEnsemble } from "../support/zookeeper.ts";
import { readCounts } from "./arguments.ts";
import { freePort, untilListening } from "./brokers.ts";

const usage = "usage: bun run bench:capacity -- [MEGABYTES OF HEAP [MINUTES AT MOST]]";
const [megabytes, minutes] = readCounts(usage, [1024, 15]);
/** The server is taken for full when nothing has been acknowledged for so long. */
const stuckMs = 30_000;
const inPacket = 200;

const ensemble = await startEnsemble(1, { properties: [`-Xmx${megabytes}m`, "-XX:TieredStopAtLevel=4"] });
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-capacity-"));
const port = await freePort();
const links = ["--link-host", "127.0.0.1", "--link-port", String(await freePort())];
const flags = [...links, "--bank-capital", "1000000000", "--max-queued", "1000000", "--max-retained", "10000000"];
const broker = Bun.spawn(
  [
    executable,
    "broker",
    "--host",
    "127.0.0.1",
    "--port",
    String(port),
    "--zk",
    `${ensemble.connect}/capacity`,
    ...flags,
  ],
  { stdout: "ignore", stderr: Bun.file(join(folder, "log")), cwd: folder },
);
await untilListening(port);

let lastAt = performance.now();
let isOver = false;
const made = { messages: 0, sessions: 0, subscriptions: 0, retained: 0 };

async function fill(make: (round: number) => Promise<void>): Promise<void> {
  for (let round = 0; !isOver; round++) {
    await make(round).catch(() => Bun.sleep(500));
  }
}

const lasting = (clientId: string): AnyPacket => ({
  ...{ protocolVersion: 5, clientId, clean: false },
  properties: { sessionExpiryInterval: 1_000_000 },
});

function noted(kind: keyof typeof made, count: number): void {
  made[kind] += count;
  lastAt = performance.now();
}

const publishes = (topicOf: (at: number) => string, retain: boolean): Buffer =>
  Buffer.concat(
    Array.from({ length: inPacket }, (_, at) =>
      mqttPacket.generate(
        {
          ...{ cmd: "publish", topic: topicOf(at), payload: Buffer.alloc(256), qos: 1, messageId: at + 1 },
          ...{ dup: false, retain },
        },
        { protocolVersion: 5 },
      ),
    ),
  );

async function publishing(
  topicOf: (round: number, at: number) => string,
  kind: "messages" | "retained",
): Promise<void> {
  let client = await RawClient.connect(port, { protocolVersion: 5 });
  await fill(async (round) => {
    if (client.closed) client = await RawClient.connect(port, { protocolVersion: 5 });
    client.write(publishes((at) => topicOf(round, at), kind === "retained"));
    const acks = await client.takeMany("puback", inPacket);
    noted(kind, acks.filter(({ reasonCode }) => (reasonCode ?? 0) < 0x80).length);
  });
}

async function subscribing(): Promise<void> {
  await fill(async (round) => {
    const client = await RawClient.connect(port, lasting(`holder-${round}`));
    const subscriptions = Array.from({ length: inPacket }, (_, at) => ({ topic: `s/${round}/${at}`, qos: 1 as const }));
    client.send({ cmd: "subscribe", messageId: 1, subscriptions });
    const { granted } = await client.take("suback");
    noted("subscriptions", granted.filter((code: number) => code < 3).length);
    client.disconnect();
  });
}

async function connecting(): Promise<void> {
  await fill(async (round) => {
    const clients = await Promise.all(
      Array.from({ length: 20 }, (_, at) => RawClient.connect(port, lasting(`session-${round}-${at}`))),
    );
    noted("sessions", clients.length);
    for (const client of clients) client.disconnect();
  });
}

// Its mailbox is where the messages go.
const reader = await RawClient.connect(port, lasting("reader"));
await reader.subscribe("m/#", { qos: 1 });
reader.disconnect();
const work = [
  publishing((round, at) => `m/${(round * inPacket + at) % 1000}`, "messages"),
  publishing((round, at) => `r/${round}/${at}`, "retained"),
  subscribing(),
  connecting(),
];

const watcher = await RawClient.connect(port, { protocolVersion: 5 });
await watcher.subscribe("$SYS/broker/bank/bound");
const bound = (): number => {
  const said = watcher.packets.filter(({ topic }) => topic === "$SYS/broker/bank/bound");
  watcher.packets.length = 0;
  return said.length === 0 ? lastBound : Number(String(said.at(-1).payload));
};
let lastBound = 0;

const startedAt = performance.now();
const { pid } = ensemble.servers[0]!;
const million = (count: number): string => (count / 1e6).toFixed(1);
const mega = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MB`;
const isServed = (): boolean => performance.now() - lastAt < stuckMs;
while (isServed() && performance.now() - startedAt < minutes * 60_000) {
  await Bun.sleep(10_000);
  lastBound = bound();
  const heap = heapBytes(pid);
  // A collection of all of it takes a second, so it is asked for only now and then.
  const live = heap > megabytes * 2 ** 20 * 0.6 ? `, ${mega(liveHeapBytes(pid))} of them live` : "";
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  console.log(
    `${seconds} s: ${million(lastBound)} million credits bound, ${mega(heap)} used${live}; ${JSON.stringify(made)}`,
  );
}
console.log(
  isServed() ? "the time was over before it was full" : `full: nothing was acknowledged for ${stuckMs / 1000} s`,
);
isOver = true;
void work;
broker.kill("SIGKILL");
await broker.exited;
await ensemble.stop();
rmSync(folder, { recursive: true, force: true });
process.exit(0);
