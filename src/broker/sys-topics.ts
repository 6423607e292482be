/** The `$SYS` topics: the broker's counters as retained messages, to which any client may subscribe (4.7.2). */

import { milli } from "../bank/price.ts";
import { encodeUtf8 } from "../base/bytes.ts";
import { sysIntervalMs } from "../base/limits.ts";
import type { Work } from "../base/slices.ts";
import { Timer } from "../base/timers.ts";
import { makePublish } from "../mqtt/publish.ts";
import type { Metrics } from "./core/metrics.ts";
import { version } from "./core/version.ts";
import type { ClusterContext } from "./peers/cluster-context.ts";
import type { Fanout } from "./publish/fanout.ts";
import { holdersOf } from "./publish/refusals.ts";

/** The number of topics shown that hold the most credits of this broker's branch. */
const holdersShown = 10;

/** The windows of the moving averages, in minutes. */
const windows = [1, 5, 15];

/** Publishes the counters every `sysIntervalMs`. */
export class SysTopics {
  readonly #context: ClusterContext;
  readonly #fanout: Fanout;
  readonly #startedAt: number;
  readonly #load = new Map<string, { count: number; averages: number[] }>();
  /** The most bytes of the heap that were in use when it was looked at. */
  #heapMaximum = 0;
  readonly #timer = new Timer((now) => this.#refresh(now));

  constructor(context: ClusterContext, fanout: Fanout) {
    this.#context = context;
    this.#fanout = fanout;
    this.#startedAt = context.clock.now();
  }

  /** Begins to publish, once everything that is counted has been read from the store. */
  start(): void {
    this.#refresh(this.#context.clock.now());
  }

  #refresh(now: number): void {
    const { slices, timers } = this.#context;
    slices.run(this.#publish(this.#values(now)));
    timers.set(this.#timer, now + sysIntervalMs);
  }

  /** Publishes values one by one: thousands of clients may have subscribed to all of them. */
  *#publish(values: readonly [string, string | number][]): Work {
    const { retained, router } = this.#context;
    for (const [name, value] of values) {
      const topic = `$SYS/broker/${name}`;
      const bytes = encodeUtf8(topic);
      const publish = makePublish(bytes, encodeUtf8(String(value)), { qos: 0, retain: true });
      retained.set(topic, publish, "here");
      yield* this.#fanout.tell(publish, router.route(bytes, 0, bytes.length)!);
      yield;
    }
  }

  /** Returns moving averages per minute, as mosquitto has them: over one, five and fifteen minutes. */
  #loads(): [string, string][] {
    const { metrics, turn } = this.#context;
    const counts: Record<string, number> = {
      "publish/received": metrics.publishesReceived,
      "publish/sent": metrics.publishesSent,
      "bytes/received": metrics.bytesReceived,
      "bytes/sent": turn.bytesWritten,
      "publish/dropped": droppedOf(metrics),
      "messages/received": metrics.packetsReceived,
      "messages/sent": metrics.publishesSent + turn.packetsWritten,
      connections: metrics.connectsReceived,
      sockets: metrics.connectionsTotal,
    };
    return Object.entries(counts).flatMap(([name, count]) => {
      const load = this.#load.get(name) ?? { count: 0, averages: windows.map(() => 0) };
      const perMinute = ((count - load.count) * 60_000) / sysIntervalMs;
      load.averages = load.averages.map((average, index) => {
        const part = 1 - Math.exp(-sysIntervalMs / (60_000 * windows[index]!));
        return average + part * (perMinute - average);
      });
      load.count = count;
      this.#load.set(name, load);
      return load.averages.map((average, index): [string, string] => [
        `load/${name}/${windows[index]}min`,
        average.toFixed(2),
      ]);
    });
  }

  /** Returns what mosquitto tells, by its names and in its units, that is not told by better names besides. */
  #asMosquitto(): [string, string | number][] {
    const { metrics, turn, bankAccount, localSessions, router } = this.#context;
    const { messages, payloadBytes } = bankAccount.account;
    const { heapUsed } = process.memoryUsage();
    this.#heapMaximum = Math.max(this.#heapMaximum, heapUsed);
    return [
      ["clients/active", metrics.connections],
      ["clients/inactive", Math.max(0, localSessions.size - metrics.connections)],
      ["clients/expired", metrics.sessionsExpired],
      ["connections/socket/count", metrics.connectionsTotal],
      // Shared ones are counted apart, each member of a group.
      ["subscriptions/count", router.subscriptions - router.sharedSubscriptions],
      ["shared_subscriptions/count", router.sharedSubscriptions],
      // What waits in the outputs of connections.
      ["packet/out/bytes", turn.unsent],
      // Packets of any type.
      ["messages/received", metrics.packetsReceived],
      ["messages/sent", metrics.publishesSent + turn.packetsWritten],
      ["messages/stored", messages],
      ["store/messages/bytes", payloadBytes],
      ["publish/bytes/received", metrics.payloadBytesReceived],
      ["publish/bytes/sent", metrics.payloadBytesSent],
      ["heap/current", heapUsed],
      ["heap/maximum", this.#heapMaximum],
    ];
  }

  #values(now: number): [string, string | number][] {
    const { metrics, localSessions, retained, turn, journal, mail, bankAccount, coordinator, peers, strangers, turns } =
      this.#context;
    const { account } = bankAccount;
    return [
      ["version", `mqttzoo ${version}`],
      ["uptime", `${Math.floor((now - this.#startedAt) / 1000)} seconds`],
      ...this.#asMosquitto(),
      ["clients/connected", metrics.connections],
      ["clients/maximum", metrics.connectionsMaximum],
      ["clients/total", localSessions.size],
      ["clients/disconnected", Math.max(0, localSessions.size - metrics.connections)],
      ["connections/total", metrics.connectionsTotal],
      ["retained messages/count", retained.size],
      ["retained messages/bytes", retained.bytes],
      ["publish/messages/received", metrics.publishesReceived],
      ["publish/messages/sent", metrics.publishesSent],
      ["publish/messages/dropped", droppedOf(metrics)],
      ["publish/messages/dropped/output full", metrics.droppedOutput],
      ["publish/messages/dropped/queue full", metrics.droppedQueue],
      ["publish/messages/dropped/mailbox full", metrics.droppedMailbox],
      ["publish/messages/dropped/link down or full", metrics.droppedLink],
      ["publish/messages/dropped/too large", metrics.droppedSize],
      ["publish/messages/dropped/expired", metrics.droppedExpired],
      ["publish/messages/refused", metrics.refused],
      ["store/messages/stored", mail.stored],
      ["store/pending", journal.pendingUnits],
      ["store/messages/count", bankAccount.account.messages],
      ["store/state", coordinator.state],
      ["mailboxes/nearly full", metrics.mailboxesHigh],
      ["sessions/ended/mailbox full", metrics.sessionsEnded],
      ["store/strangers", strangers.count],
      ["links/up", [...peers.values()].filter(({ isLinked }) => isLinked).length],
      ...this.#loads(),
      ["bank/capital", bankAccount.capital / milli],
      ["bank/granted", account.grant / milli],
      ["bank/bound", account.bound / milli],
      ["bank/free", account.free / milli],
      ["bank/messages", account.messages],
      ["bank/pricing", JSON.stringify(bankAccount.prices.pricing)],
      ["bank/vault", bankAccount.vault / milli],
      ["bank/refused", metrics.refusedByBank],
      ["bank/holders", JSON.stringify(holdersOf(this.#context, holdersShown))],
      ["bytes/received", metrics.bytesReceived],
      ["bytes/sent", turn.bytesWritten],
      ["protocol errors", sum(metrics.protocolErrors.values())],
      ["event loop/longest turn", `${Math.round(turns.takeLongestMs())} ms`],
      ...memoryOf(metrics),
    ];
  }
}

function droppedOf(metrics: Metrics): number {
  const { droppedOutput, droppedQueue, droppedMailbox, droppedLink, droppedSize, droppedExpired } = metrics;
  return droppedOutput + droppedQueue + droppedMailbox + droppedLink + droppedSize + droppedExpired;
}

function memoryOf({ memory }: Metrics): [string, number][] {
  const values = { ...memory, resident: process.memoryUsage.rss() };
  return Object.entries(values).map(([name, value]) => [`memory/${name}`, value]);
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
