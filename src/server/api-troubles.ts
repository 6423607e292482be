/**
 * The troubles of a broker in words: each says what is wrong, or ends soon, and what helps. They are worked out when
 * somebody looks, from what the broker knows anyway; what keeps it from being ready its health tells.
 */
import type { TroubleRow } from "../api/broker-rows.ts";
import type { CertificateRow } from "../api/rows.ts";
import { troubleRecentMs, troublesOfKindMax } from "../base/api-limits.ts";
import type { Broker } from "../broker/broker.ts";
import { describeDrop } from "../broker/core/recent-drops.ts";
import { areApart, wrongClockWords } from "../broker/peers/clock-watch.ts";
import type { Peer } from "../broker/peers/peer.ts";
import { aheadOfStore } from "../coordinator/store-clock.ts";
import { openFiles, openFilesMax } from "./process-files.ts";

/** A certificate that ends sooner is named. */
const certificateDaysMin = 14;
/** The part of the capital below which the bank is nearly empty, and of the open files above which they are short. */
const bankPartMin = 0.2;
const filesPartMax = 0.9;

/** Returns the troubles of a broker. */
export function* troublesOf(broker: Broker, certificates: readonly CertificateRow[]): Generator<TroubleRow> {
  const { context } = broker;
  for (const peer of context.peers.values()) yield* ofPeer(peer, context.clock.wall());
  yield* ofClocks(broker);
  for (const { what, days_left } of certificates)
    if (days_left !== null && days_left < certificateDaysMin)
      yield {
        name: "certificate",
        text:
          days_left < 0
            ? `${what} has ended: whoever checks it comes in no more; renew it`
            : `${what} ends in ${days_left} days: renew it; the files are read again by themselves`,
      };
  yield* ofStore(broker);
  yield* ofBank(broker);
  yield* ofLimits(broker);
  yield* ofClients(broker);
  yield* ofRefusals(broker);
}

/** Tells of a link that is down, and of a broker that has gone without saying so. */
function* ofPeer(peer: Peer, now: number): Generator<TroubleRow> {
  const { id, isMember, isLinked, facts, downSince, whyDown, lostAt } = peer;
  if (lostAt !== undefined && now - lostAt < lostShownMs)
    yield {
      name: "broker",
      text:
        `broker ${id} was lost ${timeOf(lostAt)}: it has ended, or has no contact with ZooKeeper; its sessions were ` +
        "taken over. Look whether it runs, what its log says last, and start it again",
    };
  if (!isMember || isLinked) return;
  const why = whyDown === undefined ? "" : ` (${whyDown})`;
  const where = facts === undefined ? "" : `, at ${facts.linkHost}:${facts.linkPort}`;
  const since = downSince === undefined ? "" : ` since ${timeOf(downSince)}`;
  yield {
    name: "link",
    text:
      `there is no link to broker ${id}${since}${why}, though both see ZooKeeper: between their clients messages of ` +
      `QoS 0 are dropped, those of QoS 1 and 2 go by the store or wait. Look whether one reaches the other${where} ` +
      "(firewall, --link-port, names, the secret, certificates)",
  };
}

/** For how long a broker that was lost is named: it may have been removed for good. */
const lostShownMs = 86_400_000;

function* ofClocks({ context }: Broker): Generator<TroubleRow> {
  const { peers, coordinator, machineClock } = context;
  const own = aheadOfStore(machineClock, coordinator.storeTime);
  if (areApart(own))
    yield { name: "clock", text: `this machine's clock is ${apart(own.aheadMs)} ZooKeeper's: ${wrongClockWords}` };
  for (const { id, clockDifference } of peers.values())
    if (areApart(clockDifference))
      yield {
        name: "clock",
        text: `the clock of broker ${id} is ${apart(clockDifference.aheadMs)} this one's: ${wrongClockWords}`,
      };
}

function apart(ms: number): string {
  return `${(Math.abs(ms) / 1000).toFixed(1)} s ${ms < 0 ? "behind" : "ahead of"}`;
}

function* ofStore({ context }: Broker): Generator<TroubleRow> {
  const { coordinator, strangers } = context;
  const { isFull = false, damagedRecords = 0 } = coordinator;
  if (isFull) yield { name: "disk", text: "the store's disk is nearly full: nothing new is stored; make room on it" };
  if (damagedRecords > 0)
    yield {
      name: "store",
      text: `${some(damagedRecords, "record", "of the store")} damaged and not served: look at the disk, mqttzoo repair`,
    };
  if (strangers.count > 0)
    yield { name: "tree", text: `${some(strangers.count, "znode")} not ours, and left out: ${strangers.words}` };
}

function* ofBank({ context }: Broker): Generator<TroubleRow> {
  const { account, capital, vault } = context.bankAccount;
  const left = Math.max(0, account.free) + vault;
  if (account.isOpen && capital > 0 && left < bankPartMin * capital)
    yield {
      name: "bank",
      text:
        `${Math.floor((100 * left) / capital)} % of the bank's capital is left to this broker; at 0 what must be ` +
        "stored is refused. mqttzoo bank statement --by topic, --by user tell whose it is: end sessions that do not " +
        "come back, or mqttzoo bank deposit",
    };
  const spent = account.shares.countSpent();
  if (spent > 0)
    yield {
      name: "share",
      text:
        `${spent} ${spent === 1 ? "user has" : "users have"} used up what one may store (--bank-share): their ` +
        "publishes are refused; mqttzoo bank statement --by user",
    };
}

function* ofLimits({ context }: Broker): Generator<TroubleRow> {
  const { metrics, options } = context;
  if (metrics.mailboxesHigh > 0)
    yield {
      name: "mailbox",
      text:
        `${some(metrics.mailboxesHigh, "mailbox", "", "mailboxes")} filled to 80 % of --max-queued ${options.maxQueued} or more: bring ` +
        "their clients back, or end their sessions (mqttzoo clients list --sort=-mailbox)",
    };
  if (metrics.memory.refused > 0)
    yield {
      name: "memory",
      text: `memory is short: ${metrics.memory.refused} users or addresses are refused; give the broker more`,
    };
  const [open, most] = [openFiles(), openFilesMax()];
  if (open !== undefined && most !== undefined && open > filesPartMax * most)
    yield { name: "files", text: `${open} of ${most} connections and files are open: raise the limit of open files` };
}

/** Returns "1 znode is", "2 znodes are". `more`: words between noun and verb. */
function some(count: number, noun: string, more = "", plural = `${noun}s`): string {
  const words = [count, count === 1 ? noun : plural, more, count === 1 ? "is" : "are"];
  return words.filter((word) => word !== "").join(" ");
}

/** Tells of clients that read too slowly, and of those that throw each other out. */
function* ofClients({ context }: Broker): Generator<TroubleRow> {
  const since = context.clock.wall() - troubleRecentMs;
  for (const [clientId, { times, at, remote }] of context.takeOvers.fights(troublesOfKindMax))
    yield {
      name: "client id",
      text:
        `two devices use the client id ${clientId}, and throw each other out: ${times} times, last ${timeOf(at)} ` +
        `(from ${remote}); give each its own`,
    };
  for (const { clientId, drop } of context.drops.since(since, troublesOfKindMax))
    yield {
      name: "dropped",
      text: `for client ${clientId} messages were dropped (${drop.times}), last ${timeOf(drop.at)}: ${describeDrop(drop.cause)}`,
    };
}

/** Tells what was refused lately, of each kind and cause the last one. */
function* ofRefusals({ context }: Broker): Generator<TroubleRow> {
  const since = context.clock.wall() - troubleRecentMs;
  const kinds = new Map<string, { times: number; text: string }>();
  for (const { kind, cause, at, times, reason, clientId } of context.refused.all()) {
    if (at < since) continue;
    const key = `${kind} (${cause})`;
    const whose = clientId === undefined ? "" : ` for client ${clientId}`;
    const before = kinds.get(key)?.times ?? 0;
    kinds.set(key, { times: before + times, text: `the last time ${timeOf(at)}${whose}: ${reason}` });
  }
  const most = [...kinds].sort(([, a], [, b]) => b.times - a.times).slice(0, troublesOfKindMax);
  for (const [key, { times, text }] of most)
    yield { name: "refused", text: `${key} was refused ${times === 1 ? "once" : `${times} times`} lately, ${text}` };
}

function timeOf(at: number): string {
  return new Date(at).toISOString();
}
