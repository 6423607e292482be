/** The API's look into the mailbox of one client, and its dropping what waits there. */
import { isUtf8 } from "node:buffer";
import type { Dropped, MailPage, Reading, WantedMail } from "../api/ports.ts";
import { Problem } from "../api/problem.ts";
import type { WaitingRow } from "../api/rows.ts";
import { clearedAtOnceMax, mailCountMs } from "../base/api-limits.ts";
import { decodeUtf8, withoutCutCharacter } from "../base/bytes.ts";
import type { Broker } from "../broker/broker.ts";
import type { LocalSession } from "../broker/delivery/local-session.ts";
import type { Mailbox } from "../broker/delivery/mailbox.ts";
import { dropWaiting, readWaiting, type WaitingMessage } from "../broker/delivery/mailbox-pages.ts";
import { mailPath } from "../coordinator/paths.ts";
import { hasStat } from "../coordinator/read-results.ts";
import { within } from "./api-patience.ts";

/** Returns a client with its mailbox, or why it has none. */
function find({ context }: Broker, clientId: string): readonly [LocalSession, Mailbox] | Problem {
  const client = context.localSessions.get(clientId);
  if (client === undefined) return new Problem(404, "there is no session of that client");
  if (client.mailbox === undefined)
    return new Problem(409, "the client's session ends with its connection: it has no mailbox");
  return [client, client.mailbox];
}

/** Mailboxes that the store is asked for in one read. */
const countedAtOnce = 50;
const unread = new Problem(503, "the store cannot tell what is in the mailbox");

/** Returns the view of mailboxes. */
export function mailboxesOf(broker: Broker): Pick<Reading, "mailbox" | "countMail"> {
  return {
    mailbox: (clientId, wanted, done) => peek(broker, clientId, { ...wanted, done }),
    countMail: (clientIds, done) => countMail(broker, clientIds, done),
  };
}

/** Reads a page of a mailbox; `done` is called once. */
function peek(
  broker: Broker,
  clientId: string,
  { done, ...wanted }: WantedMail & { readonly done: (page: MailPage | Problem) => void },
): void {
  const found = find(broker, clientId);
  if (found instanceof Problem) return done(found);
  let page: MailPage = { items: [], next: null, total: 0 };
  const told = within(broker, (problem) => done(problem ?? page));
  readWaiting(found[0], wanted, (read) => {
    if (read === undefined) return told(unread);
    const { messages, ...rest } = read;
    page = { items: messages.map(rowOf), ...rest };
    told(undefined);
  });
}

function rowOf({ keepUntil, payloadLength, beginning, ...message }: WaitingMessage): WaitingRow {
  const isCut = payloadLength !== beginning?.length;
  const shown = beginning && (isCut ? withoutCutCharacter(beginning) : beginning);
  return {
    ...message,
    kept_until: keepUntil === Infinity ? null : new Date(keepUntil).toISOString(),
    payload_bytes: payloadLength ?? null,
    payload: shown && isUtf8(shown) ? decodeUtf8(shown, 0, shown.length) : null,
    payload_base64: shown ? Buffer.from(shown).toString("base64") : null,
  };
}

/** Counts what is stored for clients that are away; `done` is called once. */
function countMail(
  broker: Broker,
  clientIds: readonly string[],
  done: (counts: ReadonlyMap<string, number>) => void,
): void {
  const { localSessions, coordinator } = broker.context;
  const away = clientIds.filter((clientId) => {
    const client = localSessions.get(clientId);
    return client?.mailbox !== undefined && client.connection === undefined;
  });
  const counts = new Map<string, number>();
  if (away.length === 0 || coordinator.state !== "CONNECTED") return done(counts);
  const told = within(broker, () => done(counts), mailCountMs);
  let left = Math.ceil(away.length / countedAtOnce);
  for (let from = 0; from < away.length; from += countedAtOnce) {
    const some = away.slice(from, from + countedAtOnce);
    const asked = some.map((clientId) => ({ kind: "exists", path: mailPath(clientId) }) as const);
    coordinator.read(asked, (error, results) => {
      if (error === undefined)
        for (const [at, result] of results.entries())
          counts.set(some[at]!, hasStat(result) ? result.stat.childCount : 0);
      if (--left === 0) told(undefined);
    });
  }
}

/** Drops what waits for a client that is away; `done` is called once, when the store holds nothing of it. */
export function dropMailbox(broker: Broker, clientId: string, done: (dropped: Dropped | Problem) => void): void {
  const found = find(broker, clientId);
  if (found instanceof Problem) return done(found);
  const [client, mailbox] = found;
  const { self, localSessions } = broker.context;
  const whyNot = (): Problem | undefined => {
    if (self.isFenced) return new Problem(503, "this broker has no contact with the store");
    if (localSessions.get(clientId) !== client) return new Problem(404, "the session has just ended, or moved");
    if (client.connection === undefined) return undefined;
    return new Problem(409, "the client is connected, and is being sent what waits: disconnect it first");
  };
  const why = whyNot();
  if (why !== undefined) return done(why);
  let value: Dropped | Problem = new Problem(409, "the client has just come back");
  const told = within(broker, (problem) => done(problem ?? value));
  const isAway = (): boolean => whyNot() === undefined;
  dropWaiting(client, mailbox, {
    ...{ max: clearedAtOnceMax, isAway },
    done: (mail) => {
      if (mail === "unread") return told(unread);
      value = mail === "back" ? (whyNot() ?? value) : mail;
      told(undefined);
    },
  });
}
