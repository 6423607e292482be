/**
 * The audit: reads a picture of the tree and says what is wrong with the bank, if anything is. It knows nothing of
 * brokers: whoever can read the tree can run it.
 */
import { weightPaidBy } from "../bank/price.ts";

export interface Snapshot {
  /** Accounts that hold no amounts, by their paths, with what they hold instead; they count for nothing below. */
  readonly damaged: ReadonlyMap<string, string>;
  /** Znodes that no broker has written, by their paths, with what is wrong with each; the audit leaves them out. */
  readonly strangers: ReadonlyMap<string, string>;
  readonly capital: number;
  readonly vault: number;
  /** Grants by the names of branches; what is left of a closed one counts for its broker. In milli-credits. */
  readonly grants: ReadonlyMap<string, number>;
  /** Publishes that brokers have refused since they were started, by branch. */
  readonly refused: ReadonlyMap<string, number>;
  readonly messages: readonly StoredMessage[];
  /** The znodes that are paid for besides messages. */
  readonly places: readonly PaidPlace[];
  readonly slips: readonly StoredSlip[];
  /** Milliseconds since 1970. */
  readonly takenAt: number;
}

/** A snapshot of which it is known what the tree weighs: for that all of it has been walked over once more. */
export interface WeighedSnapshot extends Snapshot {
  /** The weight of all that is there for clients, whoever pays, in bytes. */
  readonly weight: number;
}

export interface StoredMessage {
  readonly path: string;
  /** The version of its znode's data. */
  readonly version: number;
  readonly branch: string;
  readonly credits: number;
  /** The user whose it is; "": anonymous clients. */
  readonly payer: string;
  /** Bytes of its znode's data. */
  readonly bytes: number;
  /** Milliseconds since 1970; 0: never. */
  readonly expiresAt: number;
  readonly isRetained: boolean;
  /** Where the pieces of its payload are, if it is in pieces. */
  readonly parts: { readonly id: string; readonly count: number } | undefined;
}

/** A znode that a branch pays for, and that is no message. */
export interface PaidPlace {
  readonly path: string;
  readonly branch: string;
  readonly credits: number;
  /** The user whose it is; "": anonymous clients, null: it is what a broker announces. */
  readonly payer: string | null;
}

export interface StoredSlip {
  readonly path: string;
  readonly messagePath: string;
  /** The recipient has the message: it may be gone. */
  readonly isReleased: boolean;
  /** How many slips the message was stored with; 0: it lies in a mail drop. */
  readonly recipients: number;
}

export interface AuditOptions {
  /** A message may outlive its time by so much, in ms: one sweep. */
  readonly graceMs: number;
  /** The part of the capital that what is stored for one user may bind, in percent; undefined: it is not looked at. */
  readonly sharePercent?: number | undefined;
}

/** Everything that is wrong, in words; empty if nothing is. */
export function audit(snapshot: WeighedSnapshot, { graceMs, sharePercent }: AuditOptions): string[] {
  const { damaged, capital, vault, grants, messages, slips, weight, takenAt } = snapshot;
  const wrong: string[] = [];
  const granted = grantedIn(snapshot);
  for (const [path, data] of damaged) wrong.push(`${path} holds no amounts, but ${data}${howToMend}`);
  // What is damaged counts for nothing, so nothing can be said of the rest.
  const isWhole = damaged.size === 0;
  if (isWhole && vault + granted !== capital)
    wrong.push(`vault ${vault} + grants ${granted} is not the capital ${capital}${howToMend}`);
  const weightMax = weightPaidBy(capital) + unpaidWeightMax;
  if (isWhole && weight > weightMax)
    wrong.push(`the store holds ${weight} bytes for clients, and the capital pays for ${weightMax} at most`);
  if (vault < 0) wrong.push(`the vault is overdrawn: ${vault}`);
  const bound = boundBy(snapshot);
  for (const [branch, credits] of isWhole ? bound : []) {
    const grant = grants.get(branch);
    if (grant === undefined) wrong.push(`what ${branch} pays for binds ${credits}, and it has no branch`);
    else if (credits > grant) wrong.push(`branch ${branch} is overdrawn: ${credits} of ${grant} are bound`);
  }
  if (isWhole && sharePercent !== undefined) wrong.push(...greedyIn(snapshot, sharePercent));
  for (const [branch, grant] of grants) if (grant < 0) wrong.push(`branch ${branch} has a negative grant: ${grant}`);
  for (const { path, expiresAt, credits } of messages) {
    if (credits < 0) wrong.push(`${path} has negative credits: ${credits}`);
    if (expiresAt !== 0 && expiresAt + graceMs < takenAt)
      wrong.push(`${path} has outlived its time by ${Math.round((takenAt - expiresAt) / 1000)} s`);
  }
  const paths = new Set(messages.map(({ path }) => path));
  for (const { path, messagePath, isReleased } of slips)
    if (!isReleased && !paths.has(messagePath)) wrong.push(`${path} names ${messagePath}, which is not there`);
  return wrong;
}

/**
 * Bytes that nobody has paid for: levels that are about to be swept, and what brokers of versions before have left that
 * did not pay for it.
 */
const unpaidWeightMax = 16 * 1024 * 1024;

const howToMend = ': "mqttzoo bank repair" mends it';

/** Milli-credits that all branches have been granted. */
function grantedIn({ grants }: Pick<Snapshot, "grants">): number {
  return [...grants.values()].reduce((sum, grant) => sum + grant, 0);
}

/** Names users whose things bind more than a part of the capital, in percent. */
function greedyIn(snapshot: Snapshot, percent: number): string[] {
  const limit = Math.floor((snapshot.capital * percent) / 100);
  return [...heldBy(snapshot)].flatMap(([user, { credits }]) => {
    const who = user === "" ? "anonymous clients hold" : `${JSON.stringify(user)} holds`;
    return user === null || credits <= limit ? [] : [`${who} more than ${percent} %: ${credits} of ${limit}`];
  });
}

/** A user's holding: milli-credits that are bound for him, and how many messages and other znodes bind them. */
export interface Holding {
  credits: number;
  messages: number;
  others: number;
}

/** Adds up what is bound by user; "": anonymous clients, null: what brokers announce. */
export function heldBy({ messages, places }: Pick<Snapshot, "messages" | "places">): Map<string | null, Holding> {
  const held = new Map<string | null, Holding>();
  const note = ({ payer, credits }: { payer: string | null; credits: number }): Holding => {
    const holding = held.get(payer) ?? { credits: 0, messages: 0, others: 0 };
    held.set(payer, holding);
    holding.credits += credits;
    return holding;
  };
  for (const message of messages) note(message).messages++;
  for (const place of places) note(place).others++;
  return held;
}

/** Milli-credits that are bound by what is stored, by branch. */
export function boundBy({ messages, places }: Pick<Snapshot, "messages" | "places">): Map<string, number> {
  const bound = new Map<string, number>();
  for (const { branch, credits } of [...messages, ...places]) bound.set(branch, (bound.get(branch) ?? 0) + credits);
  return bound;
}
