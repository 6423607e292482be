/** Bans as an administrator sees them: who is banned, for a while or for good, and what may be changed of it. */
import { BanList, type BanListEntry, banListKinds, whyNoEntry, withEntry, withoutEntry } from "../access/ban-list.ts";
import type { Broker } from "../broker/broker.ts";
import type { BrokerOptions } from "../broker/core/options.ts";
import type { Answer } from "../net/http.ts";
import { type OperatorFiles, readText, replaceText } from "./operator-files.ts";

/** Follows the file of those who are banned for good. Throws `OperatingError` if it cannot be read, or is wrong. */
export function followBans({ banFile }: BrokerOptions, files: OperatorFiles, broker: Broker): void {
  if (banFile === "") return;
  files.follow([banFile], ([text]) => use(new BanList(text!), broker));
}

/** Answers GET: who is banned, and for how many seconds; null: for good. */
export function listBans({ bans, context }: Broker): Answer {
  const passing = [...bans.list(context.clock.now())].map(({ kind, name, ms }) => ({
    [kind]: name,
    seconds: Math.ceil(ms / 1000),
  }));
  const lasting = bans.lasting.entries.map(({ kind, name }) => ({ [kind]: name, seconds: null }));
  return { status: 200, type: "application/json", body: `${JSON.stringify([...passing, ...lasting])}\n` };
}

/** Answers PUT: bans somebody for good. `path`: `user/NAME`, and so on. Throws `OperatingError` of the file. */
export function addBan(path: string, broker: Broker): Answer {
  const entry = entryIn(path);
  if (entry === undefined) return text(400, "PUT /bans/address/ADDRESS, /bans/user/NAME or /bans/client/ID\n");
  const denied = ban(entry, broker);
  return denied === undefined ? text(200, "banned\n") : text(denied.status, `${denied.why}\n`);
}

/** A change of bans that is not made, as HTTP has it. */
interface Denied {
  readonly status: 400 | 404 | 409;
  readonly why: string;
}

/** Bans somebody for good. Returns why it is not done; undefined: it is. Throws `OperatingError` of the file. */
export function ban(entry: BanListEntry, broker: Broker): Denied | undefined {
  const why = whyNoEntry(entry);
  if (why !== undefined) return { status: 400, why };
  const { banFile } = broker.context.options;
  if (banFile === "") return { status: 409, why: "nobody can be banned for good: the broker has no --ban-file" };
  write(banFile, withEntry(readText(banFile), entry), broker);
  return undefined;
}

/** Answers DELETE: lifts bans of both kinds. Throws `OperatingError` of the file. */
export function liftBan(path: string, broker: Broker): Answer {
  const denied = lift(entryIn(path) ?? { kind: "address", name: path }, broker);
  return denied === undefined ? text(200, "lifted\n") : text(denied.status, `${denied.why}\n`);
}

/** Lifts bans of both kinds. Returns why nothing is done; undefined: it is. Throws `OperatingError` of the file. */
export function lift(entry: BanListEntry, broker: Broker): Denied | undefined {
  const { bans, context } = broker;
  let isLifted = entry.kind !== "client" && bans.lift(entry.kind, entry.name);
  const { banFile } = context.options;
  const without = banFile === "" ? undefined : withoutEntry(readText(banFile), entry);
  if (without !== undefined) {
    write(banFile, without, broker);
    isLifted = true;
  }
  return isLifted ? undefined : { status: 404, why: "that address, user or client is not banned" };
}

function write(banFile: string, list: string, broker: Broker): void {
  replaceText(banFile, list);
  use(new BanList(list), broker);
}

function use(list: BanList, broker: Broker): void {
  broker.bans.useList(list);
  broker.handle({ kind: "accessChanged" });
}

function entryIn(path: string): BanListEntry | undefined {
  const slash = path.indexOf("/");
  const kind = banListKinds.find((one) => one === path.slice(0, Math.max(0, slash)));
  return kind && { kind, name: path.slice(slash + 1) };
}

function text(status: number, body: string): Answer {
  return { status, type: "text/plain", body };
}
