/**
 * Full mailboxes harm their own sessions only: such a session is ended, and its client is told so when it comes back.
 * Publishers and other readers notice nothing. (With `--mailbox-full refuse` publishes are refused instead,
 * `publish/publish-admission.ts`.)
 *
 * What brokers count may be too much: others empty mailboxes, too. So the store is asked before anything is done. A
 * session is ended by the broker that keeps it, in one commit that empties its record and leaves a notice. From then on
 * it is over, whoever dies: an empty record is nobody's session. What it has left is removed after that, as of every
 * session that ends.
 */
import { ignoreTheWorld } from "../../base/errors.ts";
import {
  logTextMax,
  mailboxFullRetryMs,
  mailboxHighLookMax,
  mailboxHighLookMs,
  mailboxRemainsMs,
  mailboxSpentMs,
} from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { ReadResult } from "../../coordinator/coordinator.ts";
import { currentStore } from "../../coordinator/mirror.ts";
import { mailPath, sessionPath } from "../../coordinator/paths.ts";
import { hasData, hasStat } from "../../coordinator/read-results.ts";
import { describeEnded, type EndedCause } from "../../mail/ended-record.ts";
import { decodeSession } from "../../mail/records.ts";
import { Reason } from "../../mqtt/reason.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { Links } from "../peers/links.ts";
import type { RemoteSession } from "../peers/remote-session.ts";
import type { ConnectionEnd } from "./connection-end.ts";
import type { EndedSessions } from "./ended-sessions.ts";
import { emptyingOf } from "./session-erasure.ts";
import type { SessionRemains } from "./session-remains.ts";
import type { SessionStore } from "./session-store.ts";
import type { Wills } from "./wills.ts";

export interface FullMailboxesParts {
  readonly links: Links;
  readonly connectionEnd: ConnectionEnd;
  readonly sessionStore: SessionStore;
  readonly wills: Wills;
  readonly endedSessions: EndedSessions;
  readonly sessionRemains: SessionRemains;
  /** Returns true while a connection here is taking that client's session. */
  readonly isObtaining: (clientId: string) => boolean;
}

/** Looks at mailboxes that seem to be full, and ends their sessions, or has their brokers do so. */
export class FullMailboxes {
  readonly #context: ClusterContext;
  readonly #parts: FullMailboxesParts;
  /** The clients whose mailboxes are being looked at, or have been a moment ago and nothing came of it. */
  readonly #looking = new Set<string>();
  /** When a mailbox was first seen that has used up its numbers, by client ids; by the clock's `now`. */
  readonly #spentSince = new Map<string, number>();
  /** The next of the mailboxes that are filled far, in the round under way. */
  #round: Iterator<string> | undefined;
  readonly #timer = new Timer(() => this.#lookAtHigh());

  constructor(context: ClusterContext, parts: FullMailboxesParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /** Looks at the mailbox of a client, unless that is being done. */
  look(clientId: string): void {
    if (this.#looking.has(clientId)) return;
    this.#looking.add(clientId);
    const { coordinator, timers, clock } = this.#context;
    if (this.#timer.dueAt === Infinity) timers.set(this.#timer, clock.now() + mailboxHighLookMs);
    currentStore(coordinator).read(
      [
        { kind: "get", path: sessionPath(clientId) },
        { kind: "exists", path: mailPath(clientId) },
      ],
      (error, results) => {
        if (error !== undefined) this.#leaveAlone(clientId);
        else this.#judge(clientId, results);
      },
    );
  }

  /** Another broker has found a mailbox full, maybe by the numbers of slips that it has stored there. */
  asked(clientId: string): void {
    if (this.#looking.has(clientId)) return;
    this.#context.slips.list(clientId, () => this.look(clientId));
  }

  #judge(clientId: string, [node, mail]: readonly ReadResult[]): void {
    const { localSessions, remoteSessions, mailboxes, options, strangers, slips } = this.#context;
    const count = hasStat(mail) ? mail.stat.childCount : 0;
    const local = localSessions.get(clientId);
    const remote = remoteSessions.get(clientId);
    const path = sessionPath(clientId);
    const record =
      hasData(node) && node.data.length > 0 ? strangers.read(path, () => decodeSession(node.data)) : undefined;
    mailboxes.counted(clientId, count, local?.user ?? record?.user ?? "");
    if (local?.mailbox !== undefined && local.connection === undefined) local.mailbox.count = count;
    remote?.endCount(count);
    if (slips.numbers.isSpent(clientId)) slips.numbers.look(clientId);
    const mustEnd = count >= options.maxQueued || this.#isSpentForLong(clientId);
    if (mailboxes.isFull(clientId, count) && options.mailboxFull === "end") {
      if (local !== undefined && mustEnd) return this.#end(local, count);
      if (local === undefined && record !== undefined && remote !== undefined) this.#ask(record.owner, remote);
      return this.#leaveAlone(clientId);
    }
    remote?.refuseWhenFull(false);
    this.#looking.delete(clientId);
  }

  /** Returns true if a mailbox that has used up its numbers has not been emptied for a while. */
  #isSpentForLong(clientId: string): boolean {
    const { slips, clock } = this.#context;
    if (!slips.numbers.isSpent(clientId)) {
      this.#spentSince.delete(clientId);
      return false;
    }
    const since = this.#spentSince.get(clientId) ?? clock.now();
    this.#spentSince.set(clientId, since);
    return clock.now() - since >= mailboxSpentMs;
  }

  /** Nothing came of a look: the next one follows after a while. */
  #leaveAlone(clientId: string): void {
    const { timers, clock } = this.#context;
    timers.set(new Timer(() => this.#looking.delete(clientId)), clock.now() + mailboxFullRetryMs);
  }

  /**
   * Tells the broker that keeps a session. One that does not end sessions has publishes for it refused. If it is gone
   * another one keeps the session in a moment, and is told then.
   */
  #ask(owner: string, remote: RemoteSession): void {
    const peer = this.#context.peers.get(owner);
    if (peer?.isMember !== true) return;
    const endsSessions = peer.facts?.endsSessions === true;
    remote.refuseWhenFull(!endsSessions);
    if (endsSessions) this.#parts.links.sendControl(peer, { say: "full", clientId: remote.clientId });
  }

  #end(client: LocalSession, messages: number): void {
    const { self, log, metrics, slips, options, journal, mailboxes, coordinator } = this.#context;
    const { clientId } = client.session;
    // It is being served, or given up, just now.
    const isBusy = client.isEnding || client.isReleased || this.#parts.isObtaining(clientId);
    if (client.mailbox === undefined || self.isFenced || isBusy) return this.#leaveAlone(clientId);
    const cause: EndedCause = messages >= options.maxQueued ? "full" : "numbers";
    const { connectionEnd, sessionStore, endedSessions } = this.#parts;
    client.end();
    const over = sessionStore.announceErasure(clientId);
    const [notice, noting] = endedSessions.draft(clientId, { cause, messages });
    if (client.connection !== undefined)
      connectionEnd.dismiss(client.connection, Reason.quotaExceeded, describeEnded(notice));
    client.stopExpiry();
    // Other brokers take a session with an empty record for none, and remove what is left of it.
    const emptying = emptyingOf(client.fencingToken);
    const ended = (): void => {
      metrics.sessionsEnded++;
      this.#context.drops.noteRun("mailbox", "", { count: messages, clientId });
      const user = client.user === "" ? {} : { user: client.user.slice(0, logTextMax) };
      const facts = { client: clientId.slice(0, logTextMax), ...user, messages };
      log.warn(facts, `session ended: its mailbox ${cause === "full" ? "is full" : "has used up its numbers"}`);
      slips.numbers.forget(clientId);
      this.#spentSince.delete(clientId);
      mailboxes.forget(clientId);
      this.#erase(client, over);
    };
    const refused = (): void => {
      this.#looking.delete(clientId);
      over();
      this.#context.evict(client);
    };
    // A full disk takes nothing new, and nothing may keep what is there from being removed.
    const notes = coordinator.isFull === true ? [] : noting;
    journal.commit([emptying, ...notes], ended, refused);
  }

  /** Removes what a session has left that is over. */
  #erase(client: LocalSession, over: () => void): void {
    const { clientId } = client.session;
    const { sessionStore, wills } = this.#parts;
    const { timers, clock } = this.#context;
    const lookAgain = new Timer(() => void this.#parts.sessionRemains.look([clientId]).catch(ignoreTheWorld));
    const gone = (): void => {
      this.#looking.delete(clientId);
      over();
      timers.set(lookAgain, clock.now() + mailboxRemainsMs);
    };
    // Another broker has claimed it meanwhile, and finds it over.
    if (client.isReleased) return gone();
    wills.publishNow(client);
    sessionStore.erase(client, gone);
  }

  /** Counts mailboxes that are filled far, a page at a time: others may have emptied them. */
  #lookAtHigh(): void {
    const { mailboxes, timers, clock } = this.#context;
    if (mailboxes.high.size === 0) return;
    timers.set(this.#timer, clock.now() + mailboxHighLookMs);
    this.#round ??= mailboxes.high.values();
    for (let count = 0; count < mailboxHighLookMax; count++) {
      const { value: clientId, done } = this.#round.next();
      if (done === true) {
        this.#round = undefined;
        return;
      }
      this.look(clientId);
    }
  }
}
