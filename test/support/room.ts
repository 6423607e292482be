/**
 * The surroundings of one part of the broker, for tests of that part alone: a store in memory, time that the test
 * moves, known chance, and a rich bank. The parts around it are real where they are passive, else absent.
 */
import { Accounts } from "../../src/bank/accounts.ts";
import type { Log } from "../../src/base/log.ts";
import { Slices } from "../../src/base/slices.ts";
import { Timers } from "../../src/base/timers.ts";
import { TurnWatch } from "../../src/base/turn-watch.ts";
import { BankAccount, type OtherBranches } from "../../src/broker/core/bank-account.ts";
import { LiveEvents } from "../../src/broker/core/live-events.ts";
import { Metrics } from "../../src/broker/core/metrics.ts";
import { type BrokerOptions, defaultOptions } from "../../src/broker/core/options.ts";
import { RecentDrops } from "../../src/broker/core/recent-drops.ts";
import { RecentRefusals } from "../../src/broker/core/recent-refusals.ts";
import { RecentTakeOvers } from "../../src/broker/core/recent-take-overs.ts";
import { Strangers } from "../../src/broker/core/strangers.ts";
import { Trace } from "../../src/broker/core/trace.ts";
import { LocalSession } from "../../src/broker/delivery/local-session.ts";
import { MailboxGauge } from "../../src/broker/delivery/mailbox-gauge.ts";
import type { ClusterContext } from "../../src/broker/peers/cluster-context.ts";
import type { Peer, Remote } from "../../src/broker/peers/peer.ts";
import { branchPath } from "../../src/coordinator/paths.ts";
import { Journal } from "../../src/mail/journal.ts";
import { Mail } from "../../src/mail/mail.ts";
import { Settlements } from "../../src/mail/settlement.ts";
import { Slips } from "../../src/mail/slips.ts";
import { Turn } from "../../src/net/writer.ts";
import { RetainedMessages } from "../../src/router/retained.ts";
import { Router } from "../../src/router/router.ts";
import { Session } from "../../src/session/session.ts";
import { MemoryStore } from "./memory-store.ts";

export interface LogLine {
  readonly level: string;
  readonly facts: Record<string, unknown>;
  readonly text: string;
}

export interface RoomOptions extends Partial<BrokerOptions> {
  readonly store?: MemoryStore;
  readonly others?: Partial<OtherBranches>;
  /** False: the test founds it, and opens the branch. */
  readonly hasBank?: boolean;
}

export function room({ store = new MemoryStore(), others = {}, hasBank = true, ...some }: RoomOptions = {}) {
  const options: BrokerOptions = { ...defaultOptions, id: "here", ...some };
  let now = 1000;
  const clock = { now: () => now, wall: () => 1_800_000_000_000 + now };
  const timers = new Timers();
  const lines: LogLine[] = [];
  const log = logTo(lines);
  const turn = new Turn((flush) => queueMicrotask(flush));
  const random = { next: () => 0.5, hex: (bytes: number) => "ab".repeat(bytes) };
  const strangers = new Strangers({ clock, log });
  const events = new LiveEvents();
  const trace = new Trace(clock);
  const runtime = {
    ...{ options, coordinator: store, clock, machineClock: clock, random, log, turn, timers, strangers },
    ...{ slices: new Slices(clock, timers), turns: new TurnWatch({ clock, log }) },
    takeOvers: new RecentTakeOvers(clock),
    ...{ events, spans: undefined, trace, drops: new RecentDrops(clock, trace), metrics: new Metrics() },
    refused: new RecentRefusals(clock, trace, (refusal) => events.tell({ kind: "refused", refusal })),
  };
  const journal = new Journal(store, clock);
  const accounts = new Accounts(store);
  const nobody: OtherBranches = { exist: () => false, reportFreed: () => {}, askForCredits: () => {} };
  const bankAccount = new BankAccount(runtime, {
    journal,
    accounts,
    others: { ...nobody, ...others },
    sharePercent: () => 100,
  });
  bankAccount.account.grant = Number.MAX_SAFE_INTEGER;
  bankAccount.account.isOpen = hasBank;
  // What stores a message checks that the branch is there.
  if (hasBank) store.put(branchPath(options.id));
  const slips = new Slips({ coordinator: store, journal, ledger: bankAccount, reader: strangers });
  const mail = new Mail({ journal, ledger: bankAccount, slips, epoch: 7 });
  const evicted: string[] = [];
  const looked: string[] = [];
  const context: ClusterContext = {
    ...runtime,
    ...{ journal, mail, slips, bankAccount },
    settlements: new Settlements({ mail, journal, timers, settleAfterMs: options.settleAfter }),
    retained: new RetainedMessages(),
    mailboxes: new MailboxGauge(runtime, { numbers: slips.numbers, look: (clientId) => void looked.push(clientId) }),
    evict: ({ session }) => void evicted.push(session.clientId),
    router: new Router<LocalSession, Remote>({
      mayReceive: () => true,
      isThere: () => true,
      isMailDrop: () => false,
    }),
    ...{ hasMailDrops: () => false, localSessions: new Map(), remoteSessions: new Map() },
    peers: new Map<string, Peer>(),
    self: { epoch: 7, isJoining: false, isDraining: false, isFenced: false, format: 2, fences: 0, orphansUntil: 0 },
  };
  /** Lets time pass, deadline by deadline. */
  const pass = (ms: number): void => {
    const end = now + ms;
    while (timers.nextDeadline() <= end) {
      now = Math.max(now, timers.nextDeadline());
      timers.tick(now);
    }
    now = end;
  };
  /** A session that is not connected; `expiry` in seconds: it outlives its connection. */
  const session = (clientId: string, expiry = 0): LocalSession => {
    const made = new LocalSession(context, new Session(clientId, 5, expiry));
    context.localSessions.set(clientId, made);
    return made;
  };
  return { context, store, lines, evicted, looked, pass, session };
}

/** Returns stand-ins for calls about a client of other parts: each notes in `notes` what was asked, and for whom. */
export function noteIn(notes: string[]): (what: string) => (client: LocalSession) => void {
  return (what) =>
    ({ session }) =>
      void notes.push(`${what} ${session.clientId}`);
}

/** Lets what was put off to a later microtask, or the event loop's next turn, happen. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A log whose lines are kept. */
function logTo(lines: LogLine[]): Log {
  const say =
    (level: string) =>
    (facts: Record<string, unknown>, text: string): void =>
      void lines.push({ level, facts, text });
  return {
    level: "debug",
    isLevelEnabled: () => true,
    debug: say("debug"),
    info: say("info"),
    warn: say("warn"),
    error: say("error"),
  } as unknown as Log;
}
