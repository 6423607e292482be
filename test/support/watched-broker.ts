/**
 * A broker beside a bystander, whose turns are watched while somebody does the worst that he may. What counts is the
 * processor's time of the broker's own turns, so that a machine that is busy with other things fails
 * nobody; the bystander's waits are held against those that he had before, and against what the machine does to others
 * meanwhile.
 */

import { afterAll, beforeAll, expect } from "bun:test";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqttPacket from "mqtt-packet";
import { freePort } from "../bench/brokers.ts";
import { startBystander } from "./bystander.ts";
import { removeFolder } from "./folder.ts";
import { startBrokerProcess } from "./process.ts";
import { type AnyPacket, RawClient } from "./raw-client.ts";

/** The processor's time that no turn may take, in s as `mqttzoo_turn_seconds` has it; and that few may. */
const never = "0.1";
const rarely = "0.05";
/** Turns that may take longer than `rarely`: the garbage collector has turns of its own choice. */
const rare = 1;
/** The longest that the bystander may wait, 99 times of 100, on a machine that does nothing else, in ms. */
const noticedMs = 50;

export interface WatchedBroker {
  readonly port: number;
  readonly httpPort: number;
  readonly wsPort: number;
  readonly pid: number;
  readonly folder: string;
  /** Does something, and then looks at the broker's turns and at what the bystander has seen. */
  attack(how: () => Promise<void>): Promise<void>;
  /** Connects a client of MQTT 5. */
  five(options?: AnyPacket): Promise<RawClient>;
  stop(): Promise<void>;
}

/** `args`: the broker's own, given the folder in which it keeps its files. */
export async function startWatchedBroker(
  args: (folder: string) => readonly string[] = () => [],
): Promise<WatchedBroker> {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-turns-"));
  const [httpPort, wsPort] = [await freePort(), await freePort()];
  const stderr = join(folder, "log");
  const broker = await startBrokerProcess(join(folder, "data"), {
    args: [
      "--bank-capital",
      "1000000000",
      "--http-port",
      String(httpPort),
      "--ws-port",
      String(wsPort),
      ...args(folder),
    ],
    stderr,
  });
  const { port, pid } = broker;
  const bystander = await startBystander(port);
  /** The turns that have taken longer than each end of the histogram's buckets. */
  const turns = async (): Promise<Map<string, number>> => {
    const text = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
    const buckets = [...text.matchAll(/mqttzoo_turn_seconds_bucket\{le="([^"]+)"\} (\d+)/g)];
    const all = Number(buckets.at(-1)![2]);
    return new Map(buckets.map(([, end, count]) => [end!, all - Number(count)]));
  };
  return {
    ...{ port, httpPort, wsPort, pid, folder },
    async attack(how) {
      await bystander.waits();
      await Bun.sleep(300);
      const quiet = await bystander.waits();
      const before = await turns();
      const told = readFileSync(stderr).length;
      await how();
      const after = await turns();
      const { p99, stretch, late } = await bystander.waits();
      const longer = (end: string): number => after.get(end)! - before.get(end)!;
      const culprits = longer(rarely) > 0 ? culpritsIn(readFileSync(stderr).subarray(told).toString()) : [];
      const seen = { never: longer(never), rarely: longer(rarely) > rare };
      expect({ ...seen, culprits: seen.never > 0 || seen.rarely ? culprits : [] }).toEqual({
        never: 0,
        rarely: false,
        culprits: [],
      });
      expect(p99).toBeLessThan(quiet.p99 + noticedMs * stretch + late);
    },
    five: (options = {}) => RawClient.connect(port, { protocolVersion: 5, ...options }),
    async stop() {
      bystander.stop();
      await broker.kill("SIGKILL");
      removeFolder(folder);
    },
  };
}

/** A watched broker for all tests of a file, from before the first one until after the last. */
export class BrokerOfFile {
  #broker: WatchedBroker | undefined;

  constructor(args?: Parameters<typeof startWatchedBroker>[0]) {
    beforeAll(async () => {
      this.#broker = await startWatchedBroker(args);
    }, 120_000);
    afterAll(() => this.#broker?.stop());
  }

  get broker(): WatchedBroker {
    return this.#broker!;
  }

  readonly attack = (how: () => Promise<void>): Promise<void> => this.broker.attack(how);
  readonly five = (options?: AnyPacket): Promise<RawClient> => this.broker.five(options);
}

/** Returns the lines of a log that name who has held the event loop. */
function culpritsIn(log: string): string[] {
  return log.split("\n").filter((line) => line.includes("the event loop was held"));
}

/** How long such a test may take, on a busy machine, in ms. */
export const patienceMs = 120_000;
export const encode = (packet: AnyPacket): Buffer => mqttPacket.generate(packet, { protocolVersion: 5 });
export const counting = (count: number): number[] => [...Array(count).keys()];

export function pagesOf<Item>(items: readonly Item[], size: number): Item[][] {
  const pages: Item[][] = [];
  for (let at = 0; at < items.length; at += size) pages.push(items.slice(at, at + size));
  return pages;
}

/** Subscribes in one packet; returns how many filters were granted. */
export async function subscribe(client: RawClient, topics: readonly string[], qos = 0): Promise<number> {
  const subscriptions = topics.map((topic) => ({ topic, qos }));
  client.send({ cmd: "subscribe", messageId: 1, subscriptions });
  const { granted } = await client.take("suback");
  return granted.filter((code: number) => code < 3).length;
}

/** Publishes at QoS 1, some at a time, and waits for the acks. */
export async function publishAll(client: RawClient, topics: readonly string[], more: AnyPacket = {}): Promise<void> {
  for (const page of pagesOf(topics, 500)) {
    const one = (topic: string, at: number): Buffer =>
      encode({ cmd: "publish", topic, payload: "x", qos: 1, messageId: at + 1, dup: false, retain: false, ...more });
    client.write(Buffer.concat(page.map(one)));
    await client.takeMany("puback", page.length);
  }
}

/** The options of a client whose session outlives its connection. */
export const lasting = (clientId: string, clean = false): AnyPacket => ({
  clientId,
  clean,
  properties: { sessionExpiryInterval: 1000 },
});
