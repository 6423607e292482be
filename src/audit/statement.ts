/**
 * The bank's statement: who holds the credits. It is added up in walks over the store, with so many holders in memory
 * at once: where there are more, it is walked over again for the others.
 */
import { statementHoldersMax } from "../base/bank-limits.ts";
import { encodeUtf8, hashBytes } from "../base/bytes.ts";
import { parentPath, partsPath } from "../coordinator/paths.ts";
import type { Holding } from "./audit.ts";
import { walkPlaces } from "./places.ts";
import type { Walked } from "./scan.ts";
import { allSlips, clientOf, type FoundMessage, findMail, messageIn, nodesAt } from "./stored-mail.ts";

/** The things that credits are added up by. */
export const holderKinds = ["topic", "client", "user", "branch", "age"] as const;
export type HolderKind = (typeof holderKinds)[number];

export interface StatementOptions {
  readonly by: HolderKind;
  /** The present time, in ms since 1970. */
  readonly now: number;
  /** Most holders that are in memory at once. */
  readonly holdersMax?: number;
  /** Returns true when nobody wants to know any more; asked now and then. */
  readonly isOver?: () => boolean;
}

/** Holdings by holder. By user: "" are anonymous clients, null is what brokers announce. */
export type Holdings = ReadonlyMap<string | null, Holding>;

/** A part of all holders: those whose names have this hash, modulo a power of two. */
interface Class {
  readonly modulus: number;
  readonly remainder: number;
}

/** Adds up who holds how much, every holder once, some at a time. Rejects with `OperatingError`. */
export async function* holdingsIn(
  walked: Walked,
  { by, now, holdersMax = statementHoldersMax, isOver = () => false }: StatementOptions,
): AsyncGenerator<Holdings> {
  const left: Class[] = [{ modulus: 1, remainder: 0 }];
  for (let wanted = left.pop(); wanted !== undefined; wanted = left.pop()) {
    const sums = new Sums(wanted, holdersMax);
    await addUp(walked, { by, now, sums, isOver });
    if (isOver()) return;
    left.push(...sums.left);
    yield sums.holdings;
  }
}

/** Sums of the holders of one class, which becomes smaller when there are too many. */
class Sums {
  readonly holdings = new Map<string | null, Holding>();
  /** The classes that have been left for another walk. */
  readonly left: Class[] = [];
  readonly #max: number;
  #class: Class;

  constructor(wanted: Class, max: number) {
    this.#class = wanted;
    this.#max = max;
  }

  add(holder: string | null, { credits = 0, messages = 0, others = 0 }: Partial<Holding>): void {
    let holding = this.holdings.get(holder);
    if (holding === undefined) {
      if (!isIn(this.#class, holder)) return;
      while (this.holdings.size >= this.#max && this.#class.modulus < modulusMax) this.#halve();
      if (!isIn(this.#class, holder)) return;
      holding = { credits: 0, messages: 0, others: 0 };
      this.holdings.set(holder, holding);
    }
    holding.credits += credits;
    holding.messages += messages;
    holding.others += others;
  }

  #halve(): void {
    const { modulus, remainder } = this.#class;
    this.#class = { modulus: 2 * modulus, remainder };
    this.left.push({ modulus: 2 * modulus, remainder: remainder + modulus });
    for (const holder of this.holdings.keys()) if (!isIn(this.#class, holder)) this.holdings.delete(holder);
  }
}

/** Classes are halved no further: names may have the same hash, and each costs a walk. */
const modulusMax = 1024;

function isIn({ modulus, remainder }: Class, holder: string | null): boolean {
  if (modulus === 1) return true;
  const bytes = encodeUtf8(holder ?? "");
  return hashBytes(bytes, 0, bytes.length) % modulus === remainder;
}

interface Adding {
  readonly by: HolderKind;
  readonly now: number;
  readonly sums: Sums;
  readonly isOver: () => boolean;
}

async function addUp(walked: Walked, { by, now, sums, isOver }: Adding): Promise<void> {
  if (by === "client") return addUpMailboxes(walked, sums, isOver);
  for await (const { messages } of findMail(walked, { levels: undefined })) {
    if (isOver()) return;
    for (const message of messages) {
      const { credits, payloadCredits, payer } = message;
      // Of a user's the payload is met below, with whatever else he pays for.
      if (by === "user") sums.add(payer, { credits: credits - payloadCredits, messages: 1 });
      else sums.add(holderOf(message, by, now), { credits, messages: 1 });
    }
  }
  if (by === "user")
    await walkPlaces(walked, (path, { credits, payer }) =>
      sums.add(payer, { credits, others: parentPath(path) === partsPath ? 0 : 1 }),
    );
}

function holderOf(message: FoundMessage, by: "topic" | "branch" | "age", now: number): string {
  if (by === "branch") return message.branch;
  if (by === "topic") return message.topic;
  if (message.expiresAt === 0) return "no end";
  const hours = Math.max(0, (message.expiresAt - now) / 3_600_000);
  return hours < 1 ? "ends within 1 h" : `ends within ${2 ** Math.ceil(Math.log2(hours))} h`;
}

/** Prices that are remembered: a message may wait for many clients. */
const pricesMax = 10_000;

/** Adds up, for each client, what the messages cost that wait for him. */
async function addUpMailboxes(walked: Walked, sums: Sums, isOver: () => boolean): Promise<void> {
  const prices = new Map<string, number>();
  for await (const slips of allSlips(walked)) {
    if (isOver()) return;
    const unknown = new Set(slips.map(({ record }) => record.messagePath).filter((path) => !prices.has(path)));
    for await (const nodes of nodesAt(walked.store, [...unknown]))
      for (const [path, node] of nodes) prices.set(path, messageIn(walked, path, node)?.credits ?? 0);
    for (const { path, record } of slips)
      sums.add(clientOf(path), { credits: prices.get(record.messagePath) ?? 0, messages: 1 });
    if (prices.size > pricesMax) prices.clear();
  }
}
