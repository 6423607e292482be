/**
 * A branch of the bank: what this broker may store, by local arithmetic. Credits are reserved before a message is
 * promised, bound when it is stored, and free again when it is gone.
 *
 * Invariant: what is bound and reserved never exceeds the grant, but after the branch was closed.
 */

import { isRetainedLevel, messageMark, nameOf, parentPath } from "../coordinator/paths.ts";
import { placeWeightOf } from "../coordinator/weight.ts";
import { weightPriceOf } from "./price.ts";
import { type Holder, Shares } from "./shares.ts";

/** Credits set aside for one publish, until it is settled: for each copy of it that may have to be stored. */
export class Reservation {
  readonly #branch: Branch;
  readonly #holder: Holder;
  #left: number;

  constructor(branch: Branch, holder: Holder, credits: number) {
    this.#branch = branch;
    this.#holder = holder;
    this.#left = credits;
    branch.shares.add(holder, credits);
  }

  /** The client for whom it is, where clients are told apart. */
  get clientId(): string | undefined {
    return this.#holder.clientId;
  }

  /** A part of it pays for a copy; returns what it lacks. */
  take(credits: number): number {
    const paid = Math.min(this.#left, credits);
    this.#left -= paid;
    this.#branch.shares.add(this.#holder, -paid);
    return credits - paid;
  }

  /** Milli-credits that are left of it. */
  get left(): number {
    return this.#left;
  }

  /** Sets a part of it, which it must have, aside for itself: what is taken of one is not taken of the other. */
  apart(credits: number): Reservation {
    if (credits === 0) return this.#branch.nothing;
    this.#left -= credits;
    this.#branch.shares.add(this.#holder, -credits);
    return new Reservation(this.#branch, this.#holder, credits);
  }

  /** Frees what is left: nothing more will be stored. */
  close(): void {
    this.#branch.release(this.#left);
    this.#branch.shares.add(this.#holder, -this.#left);
    this.#left = 0;
  }
}

/** The price of what is stored, in milli-credits, and the user whose it is; null: it is the broker's own. */
export interface Price {
  readonly credits: number;
  readonly payer: string | null;
  /** The bytes of a message's payload; for anything else, or where they are not known, 0. */
  readonly payloadBytes?: number;
}

/** A source of what a thing costs, as a reservation is. */
interface Paying {
  readonly clientId?: string | undefined;
  take(credits: number): number;
}

/** A thing that is paid for. */
interface Kept {
  readonly credits: number;
  readonly holder: Holder;
  readonly payloadBytes: number;
}

export class Branch {
  /** Milli-credits that the vault has granted. */
  grant = 0;
  /** False while its znode may be gone: then nothing may be stored. */
  isOpen = false;
  /** The users, by how much of what is bound they hold. */
  readonly shares = new Shares();
  #bound = 0;
  /** The reservation where nothing has to be paid. */
  readonly nothing = new Reservation(this, this.shares.brokers, 0);
  readonly #kept = new Map<string, Kept>();
  #messages = 0;
  #payloadBytes = 0;
  /**
   * Milli-credits that messages of each topic bind, by the paths that they stand at or below; and what all else binds,
   * by the root of the part of the tree in which it stands.
   */
  readonly #byTopic = new Map<string, number>();
  /** The credits of levels that wait to be swept, by their paths. */
  readonly #unswept = new Map<string, Reservation>();

  /** Milli-credits that are bound by what is stored, or set aside for it. */
  get bound(): number {
    return this.#bound;
  }

  /** Milli-credits that may still be spent; negative: the grant was cut below what is bound. */
  get free(): number {
    return this.grant - this.#bound;
  }

  /** How many messages it pays for. */
  get messages(): number {
    return this.#messages;
  }

  /**
   * The bytes of the payloads of those messages, but for payloads in parts that were stored before the broker's start.
   */
  get payloadBytes(): number {
    return this.#payloadBytes;
  }

  /** How many znodes it pays for: each message counts as one. */
  get things(): number {
    return this.#kept.size;
  }

  /** True if it pays for what stands at a path. */
  pays(path: string): boolean {
    return this.#kept.has(path);
  }

  /**
   * Sets credits aside for a user; undefined if it cannot pay so much, or the user, or that client of his, may not bind
   * so much more.
   */
  reserve(credits: number, payer: string | null = "", clientId?: string): Reservation | undefined {
    if (credits === 0) return this.nothing;
    if (credits > this.free) return undefined;
    const holder = this.shares.of(payer, clientId);
    if (this.shares.whyNot(holder, credits, this.free) !== undefined) return undefined;
    this.#bound += credits;
    return new Reservation(this, holder, credits);
  }

  release(credits: number): void {
    this.#bound -= credits;
  }

  /** A message is stored, or will be; what it costs comes from the reservation. */
  keep(path: string, price: Price, reservation: Paying): void {
    this.#bound += reservation.take(price.credits);
    this.#keep(path, price, reservation.clientId);
  }

  /** A message was found in the store that this branch pays for. */
  found(path: string, price: Price): void {
    if (this.#kept.has(path)) return;
    this.#bound += price.credits;
    this.#keep(path, price);
  }

  /** A message is gone. Told twice, or of another branch's message, it makes no difference. */
  freed(path: string): number {
    const kept = this.#kept.get(path);
    if (kept === undefined) return 0;
    const { credits, holder, payloadBytes } = kept;
    this.#kept.delete(path);
    this.#payloadBytes -= payloadBytes;
    this.shares.add(holder, -credits);
    if (isMessagePath(path)) this.#messages--;
    this.#bound -= credits;
    this.#note(path, -credits);
    return credits;
  }

  /**
   * A thing is gone, and the level above it stands until it is swept: whoever has paid for the one goes on paying for
   * the other, for else the store could be filled with levels by storing and removing. Where another branch has paid,
   * this one pays what it can.
   */
  freedBelow(path: string, level: string): void {
    const kept = this.#kept.get(path);
    this.freed(path);
    if (this.#unswept.has(level)) return;
    const credits = Math.min(levelPriceOf(level), kept?.credits ?? Math.max(0, this.free));
    this.#bound += credits;
    this.#unswept.set(level, new Reservation(this, kept?.holder ?? this.shares.brokers, credits));
  }

  /** A level was looked at. `above`: it is gone, and that one is looked at next. */
  swept(level: string, above?: string): void {
    const reservation = this.#unswept.get(level);
    if (reservation === undefined) return;
    this.#unswept.delete(level);
    if (above !== undefined && !this.#unswept.has(above))
      this.#unswept.set(above, reservation.apart(Math.min(levelPriceOf(above), reservation.left)));
    reservation.close();
  }

  /** Milli-credits that are bound by levels that wait to be swept. */
  get unswept(): number {
    return [...this.#unswept.values()].reduce((sum, { left }) => sum + left, 0);
  }

  /** The topics whose messages bind the most, by their paths; and the roots of what else does. */
  holders(count: number): { readonly path: string; readonly credits: number }[] {
    const top: { path: string; credits: number }[] = [];
    for (const [path, credits] of this.#byTopic) {
      if (top.length === count && credits <= top.at(-1)!.credits) continue;
      top.push({ path, credits });
      top.sort((a, b) => b.credits - a.credits);
      top.length = Math.min(top.length, count);
    }
    return top;
  }

  #keep(path: string, { credits, payer, payloadBytes = 0 }: Price, clientId?: string): void {
    const holder = this.shares.of(payer, clientId);
    this.#kept.set(path, { credits, holder, payloadBytes });
    this.#payloadBytes += payloadBytes;
    this.shares.add(holder, credits);
    if (isMessagePath(path)) this.#messages++;
    this.#note(path, credits);
  }

  #note(path: string, credits: number): void {
    const topic = holderOf(path);
    const sum = (this.#byTopic.get(topic) ?? 0) + credits;
    if (sum === 0) this.#byTopic.delete(topic);
    else this.#byTopic.set(topic, sum);
  }

  /** Some of what it pays for, in turn: those that were looked at come last. */
  takeSome(count: number): string[] {
    const paths: string[] = [];
    // What was put at the end is not come to again: to ask for one message many times would keep the store busy.
    const most = Math.min(count, this.#kept.size);
    for (const [path, kept] of this.#kept) {
      if (paths.length >= most) break;
      paths.push(path);
      this.#kept.delete(path);
      this.#kept.set(path, kept);
    }
    return paths;
  }
}

/** The price of a level and all levels above it, in milli-credits. */
function levelPriceOf(path: string): number {
  return weightPriceOf(placeWeightOf(path));
}

/** True for the path of a stored or retained message. */
export function isMessagePath(path: string): boolean {
  return nameOf(path).startsWith(messageMark) || isRetainedLevel(path);
}

function holderOf(path: string): string {
  if (!isMessagePath(path)) return path.slice(0, path.indexOf("/", 1));
  // A retained message stands at its topic's level, any other below it.
  return isRetainedLevel(path) ? path : parentPath(path);
}
