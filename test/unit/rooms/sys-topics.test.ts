/** The `$SYS` topics: what is counted, as retained messages and as live ones, again and again. */
import { describe, expect, test } from "bun:test";
import { sysIntervalMs } from "../../../src/base/limits.ts";
import { nothing } from "../../../src/base/slices.ts";
import { version } from "../../../src/broker/core/version.ts";
import { Peer } from "../../../src/broker/peers/peer.ts";
import type { Fanout } from "../../../src/broker/publish/fanout.ts";
import { SysTopics } from "../../../src/broker/sys-topics.ts";
import { type Publish, topicOf } from "../../../src/mqtt/publish.ts";
import { parseFilter } from "../../../src/mqtt/topic.ts";
import { room } from "../../support/room.ts";

const textOf = ({ payloadBytes, payloadStart, payloadEnd }: Publish): string =>
  new TextDecoder().decode(payloadBytes.subarray(payloadStart, payloadEnd));

const subscription = { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0, id: 0 } as const;

function scene() {
  const made = room();
  const { context } = made;
  const live: string[] = [];
  const fanout = {
    tell: (publish: Publish) => {
      live.push(topicOf(publish));
      return nothing();
    },
  } as unknown as Fanout;
  const topics = new SysTopics(context, fanout);
  /** The text that a client which subscribes now is handed. */
  const retained = (name: string): string | undefined => {
    const found = context.retained.get(`$SYS/broker/${name}`);
    return found && textOf(found.publish);
  };
  return { ...made, topics, live, retained };
}

describe("what is counted", () => {
  test("is there from the start on, retained, and published to who subscribes already", () => {
    const { context, topics, live, retained } = scene();
    context.metrics.connections = 2;
    context.metrics.publishesReceived = 30;
    topics.start();
    expect([retained("version"), retained("uptime")]).toEqual([`mqttzoo ${version}`, "0 seconds"]);
    expect([retained("clients/connected"), retained("publish/messages/received")]).toEqual(["2", "30"]);
    expect(live).toContain("$SYS/broker/clients/connected");
    expect(context.retained.get("$SYS/broker/version")!.publish.retain).toBe(true);
  });

  test("is published anew every ten seconds", () => {
    const { context, topics, live, retained, pass } = scene();
    topics.start();
    const count = live.length;
    context.metrics.publishesSent = 5;
    pass(sysIntervalMs - 1);
    expect([live.length, retained("publish/messages/sent")]).toEqual([count, "0"]);
    pass(1);
    expect([live.length, retained("publish/messages/sent")]).toEqual([2 * count, "5"]);
    expect(retained("uptime")).toBe(`${sysIntervalMs / 1000} seconds`);
    pass(2 * sysIntervalMs);
    expect(live.length).toBe(4 * count);
  });

  test("has mosquitto's names: packets of any type, bytes of payloads, what is stored, and the heap", () => {
    const { context, topics, retained, pass } = scene();
    const { metrics, turn, bankAccount } = context;
    Object.assign(metrics, { connections: 2, packetsReceived: 9, publishesSent: 3, payloadBytesReceived: 70 });
    Object.assign(metrics, { payloadBytesSent: 80, connectsReceived: 6, connectionsTotal: 12 });
    turn.packetsWritten = 4;
    const message = { credits: 1, payer: "" };
    bankAccount.account.found("/retained/a", { ...message, payloadBytes: 5 });
    bankAccount.account.found("/retained/b", { ...message, payloadBytes: 6 });
    bankAccount.account.freed("/retained/a");
    topics.start();
    const told = (names: readonly string[]) => names.map((name) => retained(name));
    expect(told(["clients/active", "messages/received", "messages/sent"])).toEqual(["2", "9", "7"]);
    expect(told(["publish/bytes/received", "publish/bytes/sent"])).toEqual(["70", "80"]);
    expect(told(["messages/stored", "store/messages/count", "store/messages/bytes"])).toEqual(["1", "1", "6"]);
    const [current, maximum] = told(["heap/current", "heap/maximum"]).map(Number);
    expect(current).toBeGreaterThan(1_000_000);
    expect(maximum).toBeGreaterThanOrEqual(current!);
    pass(sysIntervalMs);
    const load = (name: string): number => Number(retained(`load/${name}/1min`));
    // Both began with the same look.
    expect(load("sockets") / load("connections")).toBeCloseTo(2, 1);
    expect(load("messages/received") / load("messages/sent")).toBeCloseTo(9 / 7, 1);
    // As mosquitto writes them.
    for (const name of ["sockets/1min", "publish/dropped/5min"])
      expect(retained(`load/${name}`)).toMatch(/^\d+\.\d\d$/);
  });

  test("is the state of what is around: sessions that are away, links that are up, what was dropped in all", () => {
    const { context, topics, session, retained } = scene();
    for (const clientId of ["a", "b", "c"]) session(clientId, 100);
    Object.assign(context.metrics, { connections: 1, droppedOutput: 1, droppedQueue: 2, droppedLink: 4 });
    Object.assign(context.metrics, { droppedSize: 8, droppedExpired: 16 });
    for (const [id, isLinked] of Object.entries({ b: true, c: false }))
      context.peers.set(id, Object.defineProperty(new Peer(id), "isLinked", { value: isLinked }));
    context.metrics.sessionsExpired = 4;
    const filters = ["a", "$share/g/a", "$share/g/b"].map((text) => ({ ...subscription, filter: parseFilter(text)! }));
    for (const filter of filters) context.router.subscribe(context.localSessions.get("a")!, filter);
    topics.start();
    expect([retained("clients/total"), retained("clients/disconnected")]).toEqual(["3", "2"]);
    expect(retained("clients/expired")).toBe("4");
    expect([retained("subscriptions/count"), retained("shared_subscriptions/count")]).toEqual(["1", "2"]);
    expect([retained("links/up"), retained("publish/messages/dropped")]).toEqual(["1", "31"]);
  });
});

describe("moving averages", () => {
  test("go towards the rate per minute, the shorter their window the sooner, and back to nothing", () => {
    const { context, topics, retained, pass } = scene();
    topics.start();
    const load = (minutes: number): number => Number(retained(`load/publish/received/${minutes}min`));
    expect([load(1), load(5), load(15)]).toEqual([0, 0, 0]);
    const minute = (perMinute: number): void => {
      for (let at = 0; at < 60_000; at += sysIntervalMs) {
        context.metrics.publishesReceived += (perMinute * sysIntervalMs) / 60_000;
        pass(sysIntervalMs);
      }
    };
    minute(600);
    // After one window an average has come by 1 - 1/e of the way.
    expect(load(1)).toBeCloseTo(600 * (1 - Math.exp(-1)), 0);
    expect(load(5)).toBeCloseTo(600 * (1 - Math.exp(-1 / 5)), 0);
    expect(load(15)).toBeCloseTo(600 * (1 - Math.exp(-1 / 15)), 0);
    for (let count = 0; count < 20; count++) minute(600);
    expect(load(1)).toBeCloseTo(600, 0);
    for (let count = 0; count < 20; count++) minute(0);
    expect(load(1)).toBe(0);
  });
});
