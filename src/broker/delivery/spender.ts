/**
 * Spenders: those for whom clients' memory is added up. A user is one, whatever connections and sessions he has; of
 * clients that have given no name that was checked those of one address are one; and so are connections from there
 * that have not logged in yet.
 */
import { logTextMax } from "../../base/limits.ts";

/** strangers: connections that have not logged in. Names are users' for `user`, else networks of addresses. */
export type SpenderKind = "user" | "anonymous" | "strangers";

/** One of those for whom memory is added up. */
export class Spender {
  readonly kind: SpenderKind;
  readonly name: string;
  /** Open connections. */
  connections = 0;
  /** The words with which he is refused for his own limit, and for what all together take; undefined: he is not. */
  ownRefusal: string | undefined;
  sharedRefusal: string | undefined;
  #bytes = 0;
  #adding = 0;

  constructor(kind: SpenderKind, name: string) {
    this.kind = kind;
    this.name = name;
  }

  /** The memory of all that is theirs, in bytes, by the last look. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The words with which whatever would take more memory is refused; undefined: nothing is. */
  get refusal(): string | undefined {
    return this.ownRefusal ?? this.sharedRefusal;
  }

  /** Begins a look. */
  begin(): void {
    this.#adding = 0;
  }

  /** Adds to what the look under way finds. */
  add(bytes: number): void {
    this.#adding += bytes;
  }

  /** Ends a look. */
  looked(): void {
    this.#bytes = this.#adding;
  }

  /** Names it, in words. */
  get words(): string {
    const name = this.name.slice(0, logTextMax);
    if (this.kind === "user") return `user ${name}`;
    const where = name === "" ? "without an address" : `from ${name}`;
    return this.kind === "anonymous"
      ? `clients without a user name ${where}`
      : `connections ${where} before their login`;
  }

  /** Names it for a line in the log, with what it takes. */
  get facts(): Record<string, string | number> {
    const named = this.kind === "user" ? { user: this.name.slice(0, logTextMax) } : { address: this.name };
    return { ...named, bytes: this.#bytes, connections: this.connections };
  }
}

/** All spenders that have a connection, or of which the last look has found something. */
export class Spenders {
  /** The words with which all who come are refused, since there is no memory for anybody; undefined: they are not. */
  newcomersRefusal: string | undefined;
  readonly #all = new Map<string, Spender>();

  /** Returns a spender, a new one if nobody has heard of it. */
  of(kind: SpenderKind, name: string): Spender {
    const key = `${kind} ${name}`;
    let spender = this.#all.get(key);
    if (spender === undefined) {
      spender = new Spender(kind, name);
      this.#all.set(key, spender);
    }
    return spender;
  }

  /** Has a connection count for a spender, and no longer for the one before; undefined: for nobody. */
  move(connection: { spender: Spender | undefined }, to: Spender | undefined): void {
    if (connection.spender !== undefined) connection.spender.connections--;
    if (to !== undefined) to.connections++;
    connection.spender = to;
  }

  /** Begins a look; one that is under way counts no more. */
  begin(): void {
    for (const spender of this.#all.values()) spender.begin();
  }

  /** Ends a look: what it has added up counts from now on. Those who have nothing, and are served, are forgotten. */
  looked(): void {
    for (const [key, spender] of this.#all) {
      spender.looked();
      const isIdle = spender.bytes === 0 && spender.connections === 0;
      if (isIdle && spender.refusal === undefined) this.#all.delete(key);
    }
  }

  /** Returns all, in no order. */
  all(): Iterable<Spender> {
    return this.#all.values();
  }

  /** Returns the `count` who take most, the first of them most of all. */
  largest(count: number): Spender[] {
    const largest: Spender[] = [];
    for (const spender of this.#all.values()) {
      if (largest.length === count && spender.bytes <= largest.at(-1)!.bytes) continue;
      largest.push(spender);
      largest.sort((a, b) => b.bytes - a.bytes);
      largest.length = Math.min(largest.length, count);
    }
    return largest;
  }
}
