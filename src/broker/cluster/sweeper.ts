/**
 * The teller: the one broker of the cluster that walks through the tree now and then. It removes what has expired, so
 * that its credits come back even where no other broker looks, and closes the branches of brokers that are gone.
 */

import { paidAt, walkPayloads, walkPlaces } from "../../audit/places.ts";
import { type Walked, walkMessages, walkRetained, walkSlips } from "../../audit/scan.ts";
import { Accounts, type Bound } from "../../bank/accounts.ts";
import { branchCloseMs, sweepMs } from "../../base/bank-limits.ts";
import { ignoreTheWorld, messageOf } from "../../base/errors.ts";
import { orphanPartsBusyMs, orphanPartsMs, sweepGraceMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import type { WriteOperation } from "../../coordinator/coordinator.ts";
import { children, currentStore, read } from "../../coordinator/mirror.ts";
import {
  branchesPath,
  commitPath,
  decodeName,
  messageMark,
  nameOf,
  parentPath,
  payloadPath,
} from "../../coordinator/paths.ts";
import { hasStat } from "../../coordinator/read-results.ts";
import { epochOfId } from "../../mail/mail.ts";
import type { Paid } from "../../mail/paid.ts";
import type { PaidPayload } from "../../mail/payloads.ts";
import { countedOf, isHeldByClient, topicOfMessage, unreadSlip } from "../../mail/slips.ts";
import type { EndedSessions } from "../connect/ended-sessions.ts";
import type { SessionRemains } from "../connect/session-remains.ts";
import type { MailDrops } from "../drops/mail-drops.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { Membership } from "../peers/membership.ts";
import type { RetainedStore } from "../publish/retained-store.ts";

export interface SweeperParts {
  readonly membership: Membership;
  readonly retainedStore: RetainedStore;
  readonly drops: MailDrops;
  readonly endedSessions: EndedSessions;
  readonly sessionRemains: SessionRemains;
}

/** The node above a payload in parts: its version tells whether a message has claimed them since. */
interface Claim {
  readonly version: number;
  /** The branch that pays. */
  readonly branch: PaidPayload["branch"];
}

/** The reasons why a broker does not sweep: another one is the teller, or it has no contact with the store. */
export type SweepRefusal = "notTeller" | "noContact";

/** The rest between two sweeps, as a multiple of the time that the last one took. */
const sweepPause = 10;

/** The findings of one walk through the tree. */
interface Sweep {
  /** When the walk began, in ms since 1970. */
  readonly now: number;
  /** The milli-credits that are bound by what is stored, by the names of branches. */
  readonly bound: Map<string, BoundByUsers>;
  /** Topics with messages in a mail drop. */
  readonly droppedOn: Set<string>;
  /** Ids of payloads in parts that messages name. */
  readonly parts: Set<string>;
  /** The nodes above parts, by ids, as they were before messages were looked at. */
  readonly claims: ReadonlyMap<string, Claim>;
}

/** Sweeps the tree while this broker is the teller: the member with the lowest id. */
export class Sweeper {
  readonly #context: ClusterContext;
  readonly #parts: SweeperParts;
  readonly #accounts: Accounts;
  /** When this broker first saw, in ms by the clock's `now`, that a broker with a branch is gone. */
  readonly #goneSince = new Map<string, number>();
  /** When it first saw payloads in parts that no message names, by their ids. */
  readonly #orphans = new Map<string, number>();
  #isSweeping = false;
  /** True if another round is to follow at once: what has outlived its time since this one began is wanted to go. */
  #isWanted = false;
  /** True if a teller of format 1 may have been at work since all accounts were compared with what is stored. */
  #isUnaudited = true;
  readonly #timer = new Timer((now) => this.#look(now));

  constructor(context: ClusterContext, parts: SweeperParts) {
    this.#context = context;
    this.#parts = parts;
    this.#accounts = new Accounts(context.coordinator, (path) =>
      context.strangers.note(path, "is no account of the bank"),
    );
    context.timers.set(this.#timer, context.clock.now() + sweepMs);
  }

  get #walked(): Walked {
    const { coordinator, strangers } = this.#context;
    return { store: currentStore(coordinator), reader: strangers };
  }

  /** Begins a round now, or after the one that is under way. Returns why not, if this broker is not the teller. */
  begin(): SweepRefusal | undefined {
    const { timers, clock } = this.#context;
    if (!this.#parts.membership.isLowest) return "notTeller";
    if (!this.#seesStore) return "noContact";
    if (this.#isSweeping) this.#isWanted = true;
    else timers.set(this.#timer, clock.now());
    return undefined;
  }

  get #seesStore(): boolean {
    const { coordinator, self } = this.#context;
    return coordinator.state === "CONNECTED" && !self.isFenced;
  }

  #look(now: number): void {
    const { timers, log, clock } = this.#context;
    const isTeller = this.#parts.membership.isLowest && this.#seesStore;
    if (!isTeller || this.#isSweeping) return timers.set(this.#timer, now + sweepMs);
    this.#isSweeping = true;
    this.#sweep()
      .catch((error) => {
        ignoreTheWorld(error);
        log.warn({ why: messageOf(error) }, "the teller cannot look through the store");
      })
      .finally(() => {
        this.#isSweeping = false;
        // A large tree is walked through less often, for the store must not be kept busy.
        const took = clock.now() - now;
        const pause = this.#isWanted ? 0 : Math.max(sweepMs, sweepPause * took);
        this.#isWanted = false;
        timers.set(this.#timer, clock.now() + pause);
      });
  }

  async #sweep(): Promise<void> {
    const { clock, self } = this.#context;
    const { fences } = self;
    // Another teller may have been at work since, and what was counted before that is no count any more.
    const isStillTeller = (): boolean => self.fences === fences;
    const dead = await this.#deadBranches();
    const claims = await this.#claims();
    const sweep: Sweep = { now: clock.wall(), bound: new Map(), droppedOn: new Set(), parts: new Set(), claims };
    await this.#sweepMail(sweep);
    await this.#sweepMessages(sweep);
    await this.#sweepRetained(sweep);
    const accounts = await children(this.#context.coordinator, branchesPath);
    const estates = accounts.filter((name) => name.startsWith(messageMark)).map(payerOf);
    const isUnaudited = this.#isUnaudited || self.format < sinceFormat;
    const mustCount = isUnaudited || dead.length + estates.length > 0;
    if (mustCount) await walkPlaces(this.#walked, (_, paid) => count(sweep, paid));
    if (!isStillTeller()) return;
    if (isUnaudited) estates.push(...unaccounted(sweep, accounts));
    this.#parts.endedSessions.sweep();
    await this.#parts.sessionRemains.look(this.#parts.endedSessions.clientIds);
    if (!isStillTeller()) return;
    this.#sweepParts(sweep);
    this.#parts.drops.sweep(this.#wantedDrops(), sweep.droppedOn);
    for (const { id, checks } of dead) this.#accounts.close(id, sweep.bound.get(id) ?? nothing, checks, () => {});
    for (const id of estates) {
      const bound = (): Bound | undefined => (isStillTeller() ? (sweep.bound.get(id) ?? nothing) : undefined);
      await new Promise<void>((done) => this.#accounts.settleEstate(id, bound, done));
    }
    if (isUnaudited && isStillTeller()) this.#isUnaudited = self.format < sinceFormat;
  }

  /**
   * Returns branches of brokers that are gone for long, with checks for their closing. Each commit of a broker changes
   * its node in `/commits`: one that comes back, and stores something after its messages have been counted here, keeps
   * its branch.
   */
  async #deadBranches(): Promise<{ id: string; checks: WriteOperation[] }[]> {
    const { coordinator, options, peers, clock } = this.#context;
    const now = clock.now();
    const dead: string[] = [];
    for (const name of await children(coordinator, branchesPath)) {
      const id = decodeName(name);
      const isGone = !name.startsWith(messageMark) && id !== options.id && peers.get(id)?.epoch === undefined;
      if (!isGone) this.#goneSince.delete(id);
      else if (!this.#goneSince.has(id)) this.#goneSince.set(id, now);
      else if (now - this.#goneSince.get(id)! >= branchCloseMs) dead.push(id);
    }
    const nodes = await read(
      coordinator,
      dead.map((id) => ({ kind: "exists", path: commitPath(id) })),
    );
    return dead.map((id, index) => {
      const node = nodes[index]!;
      const isCounted = hasStat(node);
      return { id, checks: isCounted ? [{ kind: "check", path: commitPath(id), version: node.stat.version }] : [] };
    });
  }

  /** Removes slips of messages that have expired, and the messages with the last of them. */
  async #sweepMail({ now }: Sweep): Promise<void> {
    const { slips } = this.#context;
    await walkSlips(this.#walked, (path, record, { stat }) => {
      if (record.keepUntil >= now || record.state === "released") return;
      const clientId = decodeName(nameOf(parentPath(parentPath(path))));
      const slip = { ...unreadSlip(clientId, nameOf(path)), record };
      if (isHeldByClient(slip)) slips.lapse(slip, stat.version);
      else slips.discard(slip);
    });
  }

  /** Returns the filters of mail drops that live brokers are configured with. */
  #wantedDrops(): Set<string> {
    const others = this.#parts.membership.members().flatMap(({ facts }) => facts?.mailDrops ?? []);
    return new Set([...this.#context.options.mailDrop, ...others]);
  }

  async #sweepMessages(sweep: Sweep): Promise<void> {
    const { now, droppedOn, parts } = sweep;
    const { slips } = this.#context;
    await walkMessages(this.#walked, {
      message: (path, head) => {
        count(sweep, head);
        if (head.parts !== undefined) parts.add(head.parts.id);
        // From a mail drop only the teller removes it. Elsewhere the broker that should have removed it is gone.
        const graceMs = head.publisher === undefined ? sweepGraceMs : 0;
        if (head.keepUntil + graceMs < now) slips.remove(countedOf(path, head));
        else if (head.publisher !== undefined) droppedOn.add(topicOfMessage(path));
      },
      counted: (path, head, times) => slips.removeIfDone(countedOf(path, head), times),
    });
  }

  /** Returns the payloads in parts by their ids. */
  async #claims(): Promise<Map<string, Claim>> {
    const { strangers } = this.#context;
    const found = new Map<string, Claim>();
    await walkPayloads(this.#walked, (path, { data, stat: { version } }) => {
      const branch = strangers.read(path, () => paidAt(path, data))?.branch;
      found.set(nameOf(path), { version, branch });
    });
    return found;
  }

  /**
   * Removes parts of payloads whose message was never stored, or whose broker died while it removed them. A message
   * that is stored meanwhile claims its parts, and then they stay.
   */
  #sweepParts({ parts, claims }: Sweep): void {
    const { slips, clock } = this.#context;
    const now = clock.now();
    const orphans = [...claims.keys()].filter((id) => !parts.has(id));
    for (const id of this.#orphans.keys()) if (!orphans.includes(id)) this.#orphans.delete(id);
    for (const id of orphans) {
      const { version, branch } = claims.get(id)!;
      const since = this.#orphans.get(id) ?? now;
      this.#orphans.set(id, since);
      // A broker that lives may still be about to store the message.
      if (now - since >= (this.#isOfTheLiving(id) ? orphanPartsBusyMs : orphanPartsMs))
        slips.payloads.remove({ id, branch }, { kind: "check", path: payloadPath(id), version: () => version });
    }
  }

  /** Returns true if the broker's incarnation that has given that id lives. */
  #isOfTheLiving(id: string): boolean {
    const { self } = this.#context;
    const epochs = [self.epoch, ...this.#parts.membership.members().map(({ epoch }) => epoch)];
    return epochs.includes(epochOfId(id));
  }

  async #sweepRetained(sweep: Sweep): Promise<void> {
    const { now, parts } = sweep;
    await walkRetained(this.#walked, (path, head, { stat }) => {
      count(sweep, head);
      if (head.parts !== undefined) parts.add(head.parts.id);
      if (head.keepUntil < now) this.#parts.retainedStore.expire(path, stat.version);
    });
  }
}

/** A sum that grows: see `Bound`. */
interface BoundByUsers extends Bound {
  credits: number;
  readonly users: Map<string, number>;
}

const nothing: Bound = { credits: 0, users: new Map() };
/** The oldest format whose tellers count all that is paid for, and not messages alone. */
const sinceFormat = 2;

/** Returns the broker whose account has that name in `/bank/branches`: a branch, or what is left of a closed one. */
function payerOf(name: string): string {
  return decodeName(name.startsWith(messageMark) ? name.slice(1) : name);
}

/** Returns the brokers that pay for something, and have no account: a teller of format 1 has seen no need for one. */
function unaccounted({ bound }: Sweep, accounts: readonly string[]): string[] {
  const payers = new Set(accounts.map(payerOf));
  return [...bound.keys()].filter((id) => !payers.has(id));
}

function count({ bound }: Sweep, { branch, credits, payer = "" }: Charged): void {
  const sum = bound.get(branch) ?? { credits: 0, users: new Map() };
  bound.set(branch, sum);
  sum.credits += credits;
  if (payer !== null) sum.users.set(payer, (sum.users.get(payer) ?? 0) + credits);
}

/** A thing that is stored, as far as the bank knows it. */
interface Charged extends Pick<Paid, "branch" | "credits"> {
  readonly payer?: string | null;
}
