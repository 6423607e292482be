/**
 * The operator's list of who is banned for good: a line each, `address 203.0.113.0/24`, `user NAME` or `client ID`.
 * Empty lines, and those that begin with #, say nothing.
 */
import { messageOf, OperatingError } from "../base/errors.ts";
import { AddressRanges, canonicalAddress, checkRange } from "../base/ip-address.ts";

/** The kinds of lines. */
export const banListKinds = ["address", "user", "client"] as const;
export type BanListKind = (typeof banListKinds)[number];

export interface BanListEntry {
  readonly kind: BanListKind;
  readonly name: string;
}

/** One who would be let in. */
export interface Candidate {
  readonly address: string;
  readonly username: string | undefined;
  readonly clientId: string | undefined;
}

export class BanList {
  readonly entries: readonly BanListEntry[];
  readonly #addresses: AddressRanges;
  readonly #names: ReadonlySet<string>;

  /** Throws `OperatingError` that names the line. */
  constructor(text: string) {
    this.entries = text.split("\n").flatMap((line, index) => {
      const words = line.trim();
      return words === "" || words.startsWith("#") ? [] : [readEntry(words, index + 1)];
    });
    const addresses = this.entries.filter(({ kind }) => kind === "address");
    this.#addresses = new AddressRanges(addresses.map(({ name }) => name));
    this.#names = new Set(this.entries.map(keyOf));
  }

  /** Returns true if one is on the list: by its address, its user name or its client id. */
  holds({ address, username, clientId }: Candidate): boolean {
    if (this.entries.length === 0) return false;
    return (
      (username !== undefined && this.#names.has(keyOf({ kind: "user", name: username }))) ||
      (clientId !== undefined && this.#names.has(keyOf({ kind: "client", name: clientId }))) ||
      this.#addresses.holds(address)
    );
  }
}

/** Says why a name cannot stand in the list; undefined: it can. */
export function whyNoEntry({ kind, name }: BanListEntry): string | undefined {
  if (name === "" || name !== name.trim() || /\p{Cc}/u.test(name))
    return "a name must not be empty, begin or end with a space, or hold a line break";
  try {
    if (kind === "address") checkRange(name);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** Returns the list with one more entry, or as it is if that is there. */
export function withEntry(text: string, entry: BanListEntry): string {
  if (new BanList(text).entries.some((one) => keyOf(one) === keyOf(entry))) return text;
  return `${text === "" || text.endsWith("\n") ? text : `${text}\n`}${entry.kind} ${entry.name}\n`;
}

/** Returns the list without an entry; undefined: it was not there. */
export function withoutEntry(text: string, entry: BanListEntry): string | undefined {
  const lines = text.split("\n");
  const left = lines.filter((line, index) => {
    const words = line.trim();
    return words === "" || words.startsWith("#") || keyOf(readEntry(words, index + 1)) !== keyOf(entry);
  });
  return left.length === lines.length ? undefined : left.join("\n");
}

function keyOf({ kind, name }: BanListEntry): string {
  return `${kind} ${kind === "address" ? canonicalAddress(name) : name}`;
}

function readEntry(words: string, line: number): BanListEntry {
  const [, kind, name = ""] = /^(\S+)\s*(.*)$/.exec(words)!;
  const known = banListKinds.find((one) => one === kind);
  const why =
    known === undefined
      ? `${JSON.stringify(kind)} is none of ${banListKinds.join(", ")}`
      : whyNoEntry({ kind: known, name });
  if (known === undefined || why !== undefined) throw new OperatingError("EFILE", `line ${line}: ${why}`);
  return { kind: known, name };
}
