/** The operations that change something. */
import { logLevels } from "../base/log.ts";
import type { AuditLog } from "./audit-log.ts";
import { keyBy, listOperation } from "./lists.ts";
import type { People } from "./people.ts";
import { Problem } from "./problem.ts";
import { type Operation, operation } from "./route.ts";
import { changeSchema } from "./rows.ts";
import { flag, object, text, time, word } from "./schema.ts";

const done200 = object({ done: flag("always true") });

const disconnectClient = operation({
  id: "disconnectClient",
  method: "POST",
  path: "/clients/{client_id}/disconnect",
  tag: "clients",
  summary: "Disconnect a client.",
  description: "A client of MQTT 5 is told 0x98, Administrative action. It may come back; a ban keeps it away.",
  role: "operator",
  answer: done200,
  problems: [404],
  answerCall({ acting, path, done }) {
    if (!acting.disconnect(path.client_id!))
      return done(new Problem(404, "no such client is connected to this broker"));
    done({ value: { done: true }, changed: { before: "connected", after: "disconnected" } });
  },
});

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
    method: "DELETE",
    path: "/tokens/current",
    tag: "users",
    summary: "Give back the bearer token with which this is asked.",
    role: "viewer",
    answer: done200,
    problems: [404],
    answerCall({ caller, done }) {
      done(people.takeToken(caller) ? { value: { done: true } } : new Problem(404, "this was not asked with a token"));
    },
  });
  const whoAmI = operation({
    id: "getMe",
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
    summary: "List the last changes that were made, or tried, over the API: the last 1,000 are remembered.",
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
  return [getLogLevel, setLogLevel, disconnectClient, whoAmI, createToken, deleteToken, listChanges];
}
