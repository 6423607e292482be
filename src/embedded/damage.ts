/** Describes a store that is not as it was written: what is wrong, and whose it was, as far as that can be known. */
import { OperatingError } from "../base/errors.ts";
import {
  bankPath,
  decodeName,
  messageMark,
  partsPath,
  retainedPath,
  sessionsPath,
  subscribersPath,
  topicsPath,
  willsPath,
} from "../coordinator/paths.ts";

/** A row that is not as it was written was met while the store was in use. */
export class DamagedRow extends OperatingError {
  readonly parent: string;
  readonly row: string;

  constructor(parent: string, name: string) {
    const path = pathOf(parent, name);
    super("EDAMAGED", `a record is damaged and is not served: ${whatIs(path)} (${path})`);
    this.parent = parent;
    this.row = name;
  }
}

export interface Damage {
  /** The damage, each in words. */
  readonly findings: readonly string[];
  /** Messages and the like that are lost, each in words, as far as it can be told. */
  readonly lost: readonly string[];
}

/** How many lost things are named in one line. */
const namedMax = 3;

export function refusal(folder: string, damage: Damage): OperatingError {
  return new OperatingError(
    "EDAMAGED",
    `the store in ${folder} is damaged: ${summary(damage)}; it is not served. "mqttzoo repair --data ${folder}" lists what is ` +
      'lost and keeps the rest; "mqttzoo broker --accept-damage" does the same at its start',
  );
}

/** The damage in one line. */
export function summary({ findings, lost }: Damage): string {
  const more = lost.length > namedMax ? `, and ${lost.length - namedMax} more` : "";
  const named = lost.length === 0 ? "" : ` (lost: ${lost.slice(0, namedMax).join(", ")}${more})`;
  return `${findings.join("; ")}${named}`;
}

export function pathOf(parent: unknown, name: unknown): string {
  return parent === "/" ? `/${name}` : `${parent}/${name}`;
}

/** Names for people what lies at a path. */
export function whatIs(path: string): string {
  const levels = path.split("/").slice(1).map(nameFrom);
  const [, second = "", third = "", fourth, fifth] = levels;
  if (isBelow(path, sessionsPath) && levels.length >= 3) {
    const whose = `client ${JSON.stringify(third)}`;
    if (levels.length === 3) return `the session of ${whose}`;
    if (fourth === "mail" && fifth !== undefined) return `a message's place in the mailbox of ${whose}`;
    return `state of ${whose}`;
  }
  if (isBelow(path, topicsPath)) {
    const end = levels.findIndex((level, index) => index > 0 && level.startsWith(messageMark));
    const topic = JSON.stringify(levels.slice(1, end === -1 ? undefined : end).join("/"));
    return end === -1 ? `the level of topic ${topic}` : `a message on topic ${topic}`;
  }
  if (isBelow(path, retainedPath)) return `the retained message of topic ${JSON.stringify(levels.slice(1).join("/"))}`;
  if (isBelow(path, subscribersPath)) {
    const filter = JSON.stringify(levels.slice(1, -1).join("/"));
    const last = levels.at(-1)!;
    if (!/^[~@]/.test(last)) return `the level of filter ${JSON.stringify(levels.slice(1).join("/"))}`;
    return `the subscription of ${last.startsWith("@") ? "broker" : "client"} ${JSON.stringify(last.slice(1))} to ${filter}`;
  }
  if (isBelow(path, willsPath) && levels.length >= 3) return `the will of client ${JSON.stringify(third)}`;
  if (isBelow(path, partsPath)) return `a part of the large message ${JSON.stringify(second)}`;
  if (path === bankPath || isBelow(path, bankPath)) return "an account of the bank";
  return path;
}

function isBelow(path: string, root: string): boolean {
  return path.startsWith(`${root}/`);
}

/** A damaged name may be none. */
function nameFrom(encoded: string): string {
  try {
    return decodeName(encoded);
  } catch {
    return encoded;
  }
}
