/** The operations that change something. */
import { bankCapitalCreditsMax } from "../base/bank-limits.ts";
import { logLevels } from "../base/log.ts";
import { messageOperations } from "./acting-on-messages.ts";
import type { AuditLog } from "./audit-log.ts";
import { keyBy, listOperation } from "./lists.ts";
import { mailboxOperations } from "./mailboxes.ts";
import type { People } from "./people.ts";
import { Problem } from "./problem.ts";
import { type Operation, operation } from "./route.ts";
import { type BanRow, banKinds, banSchema, changeSchema } from "./rows.ts";
import { flag, integer, number, object, text, time, word } from "./schema.ts";

const doneSchema = object({ done: flag("always true") });

const disconnectClient = operation({
  id: "disconnectClient",
  scope: "first",
  method: "POST",
  path: "/clients/{client_id}/disconnect",
  tag: "clients",
  summary: "Disconnect a client.",
  description: "A client of MQTT 5 is told 0x98, Administrative action. It may come back; a ban keeps it away.",
  role: "operator",
  answer: doneSchema,
  problems: [404],
  answerCall({ acting, path, done }) {
    if (!acting.disconnect(path.client_id!)) return done(new Problem(404, "no such client is connected"));
    done({ value: { done: true }, changed: { before: "connected", after: "disconnected" } });
  },
});

const endSession = operation({
  id: "endSession",
  scope: "first",
  method: "DELETE",
  path: "/clients/{client_id}",
  tag: "clients",
  summary: "End a client's session: it is disconnected, and its subscriptions and mailbox are gone.",
  description:
    "Its will is published, as at the end of any session. It is answered when the store holds nothing of it.",
  role: "operator",
  answer: doneSchema,
  problems: [404, 504],
  answerCall({ reading, acting, path, done }) {
    const client = reading.client(path.client_id!);
    const before = client && { subscriptions: client.subscriptions, mailbox: client.mailbox };
    acting.endSession(path.client_id!, (problem) =>
      done(problem ?? { value: { done: true }, changed: { before, after: "ended" } }),
    );
  },
});

const capitalBody = object({ credits: integer("how many credits", { minimum: 1, maximum: bankCapitalCreditsMax }) });
const capitalAnswer = object({ capital: number("the bank's capital now, in credits") });

/** Makes the operation that raises the bank's capital, or lowers it. */
function capitalOperation(id: "deposit" | "withdraw", summary: string): Operation {
  return operation({
    id,
    method: "POST",
    path: `/bank/${id}`,
    tag: "bank",
    summary,
    role: "operator",
    body: capitalBody,
    answer: capitalAnswer,
    problems: [409],
    answerCall({ acting, body: { credits }, done }) {
      const change = id === "deposit" ? credits : -credits;
      acting.changeCapital(change, (capital) => {
        if (capital instanceof Problem) return done(capital);
        done({ value: { capital }, changed: { before: capital - change, after: capital } });
      });
    },
  });
}

const drain = operation({
  id: "drain",
  method: "POST",
  path: "/drain",
  tag: "broker",
  summary:
    "Begin to send this broker's clients to other brokers, as at its end; new ones are refused until it is restarted.",
  role: "operator",
  answer: doneSchema,
  problems: [409],
  answerCall({ acting, done }) {
    done(acting.drain() ?? { value: { done: true }, changed: { before: "serving", after: "draining" } });
  },
});

const banPath = "/bans/{kind}/{name}";
const banWords = { kind: `one of ${banKinds.join(", ")}`, name: "an address or range, a user, a client id" };

function banOf({ kind, name }: Readonly<Record<string, string>>): { kind: BanRow["kind"]; name: string } | Problem {
  const known = banKinds.find((one) => one === kind);
  return known === undefined
    ? new Problem(400, `there are bans of ${banKinds.join(", ")}`)
    : { kind: known, name: name! };
}

const listBans = listOperation({
  id: "listBans",
  path: "/bans",
  tag: "bans",
  summary: "List who is banned: for a while, after failed logins, or for good.",
  role: "viewer",
  query: { kind: word(banKinds, "only of this kind") },
  row: banSchema,
  sorts: ["name"],
  *candidates(reading, { query }) {
    for (const row of reading.bans()) {
      const { kind, name, seconds } = row;
      const isAsked = query.kind === undefined || query.kind === kind;
      yield isAsked ? { key: keyBy(name, `${kind} ${seconds === null}`), row: () => row } : undefined;
    }
  },
});

/** Makes the operation that bans somebody, or lifts a ban. */
function banOperation(id: "addBan" | "liftBan", summary: string): Operation {
  return operation({
    id,
    method: id === "addBan" ? "PUT" : "DELETE",
    path: banPath,
    tag: "bans",
    summary,
    role: "operator",
    pathWords: banWords,
    answer: doneSchema,
    problems: [404, 409],
    answerCall({ acting, path, done }) {
      const entry = banOf(path);
      if (entry instanceof Problem) return done(entry);
      const [change, changed] =
        id === "addBan"
          ? [acting.ban, { before: null, after: "banned" }]
          : [acting.liftBan, { before: "banned", after: null }];
      done(change(entry.kind, entry.name) ?? { value: { done: true }, changed });
    },
  });
}

const levelSchema = object({ level: word(logLevels, "what is logged: this, and what is worse") });

const getLogLevel = operation({
  id: "getLogLevel",
  method: "GET",
  path: "/log-level",
  tag: "broker",
  summary: "Tell what is logged.",
  role: "viewer",
  answer: levelSchema,
  answerCall: ({ reading, done }) => done({ value: { level: levelOf(reading.logLevel()) } }),
});

const setLogLevel = operation({
  id: "setLogLevel",
  method: "PUT",
  path: "/log-level",
  tag: "broker",
  summary: "Set what is logged, until the broker ends.",
  role: "operator",
  body: levelSchema,
  answer: levelSchema,
  answerCall({ reading, acting, body: { level }, done }) {
    const before = reading.logLevel();
    acting.setLogLevel(level);
    done({ value: { level }, changed: { before, after: level } });
  },
});

function levelOf(text: string): (typeof logLevels)[number] {
  return logLevels.find((level) => level === text) ?? "info";
}

/** Returns the operations that change something, and those by which users come in and go. */
export function actingOperations(people: People, audit: AuditLog): readonly Operation[] {
  const createToken = operation({
    id: "createToken",
    scope: "asked",
    method: "POST",
    path: "/tokens",
    tag: "users",
    summary: "Get a bearer token in place of name and password, valid for 12 hours.",
    role: "viewer",
    answer: object({ token: text("the token"), expires_at: time("until when it is valid") }),
    problems: [409],
    answerCall({ caller, done }) {
      const given = people.giveToken(caller);
      if (given === undefined) return done(new Problem(409, "tokens are for users of --http-users"));
      done({ value: { token: given.token, expires_at: new Date(given.until).toISOString() } });
    },
  });
  const deleteToken = operation({
    id: "deleteToken",
    scope: "asked",
    method: "DELETE",
    path: "/tokens/current",
    tag: "users",
    summary: "Give back the bearer token with which this is asked.",
    role: "viewer",
    answer: doneSchema,
    problems: [404],
    answerCall({ caller, done }) {
      done(people.takeToken(caller) ? { value: { done: true } } : new Problem(404, "this was not asked with a token"));
    },
  });
  const whoAmI = operation({
    id: "getMe",
    scope: "asked",
    method: "GET",
    path: "/me",
    tag: "users",
    summary: "Tell who asks, and what he may.",
    role: "viewer",
    answer: object({
      name: text("the user"),
      role: word(["viewer", "operator"], "what he may"),
      from: text("from where"),
    }),
    answerCall: ({ caller: { name, role, from }, done }) => done({ value: { name, role, from } }),
  });
  const listChanges = listOperation({
    id: "listChanges",
    path: "/audit-log",
    tag: "audit log",
    summary:
      "List the last changes that were made, or tried, over the API, and who has followed messages: the last 1,000.",
    role: "operator",
    query: { who: text("only this user's") },
    row: changeSchema,
    sorts: ["number"],
    *candidates(_, { query }) {
      for (const change of audit.recent)
        yield query.who === undefined || change.who === query.who
          ? { key: keyBy(change.number, ""), row: () => change }
          : undefined;
    },
  });
  return [
    ...[getLogLevel, setLogLevel, drain, disconnectClient, endSession, ...mailboxOperations, ...messageOperations],
    ...[capitalOperation("deposit", "Raise the bank's capital."), capitalOperation("withdraw", "Lower it.")],
    ...[listBans, banOperation("addBan", "Ban somebody for good."), banOperation("liftBan", "Lift a ban of any kind.")],
    ...[whoAmI, createToken, deleteToken, listChanges],
  ];
}
