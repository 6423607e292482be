/** The administration over HTTP, for requests that show the token: the log level, connected clients, and bans. */
import { createHash, timingSafeEqual } from "node:crypto";
import { type LogLevel, logLevels } from "../base/log.ts";
import type { Broker } from "../broker/broker.ts";
import { Reason } from "../mqtt/reason.ts";
import type { Answer, Question } from "../net/http.ts";
import { addBan, liftBan, listBans } from "./admin-bans.ts";

const usage = `PUT /log-level            ${logLevels.join(", ")}
DELETE /clients/CLIENT-ID  disconnects it
GET /bans                 addresses and users that are banned
DELETE /bans/ADDRESS      lifts the ban of an address
PUT /bans/KIND/NAME       bans an address, user or client for good, in --ban-file
DELETE /bans/KIND/NAME    lifts its ban
`;

/** The methods of each of them. */
const allowed: Readonly<Record<string, string>> = {
  "log-level": "GET, PUT",
  clients: "DELETE",
  bans: "GET, PUT, DELETE",
};

/**
 * Answers a request for a change, or for the bans; undefined if its path is not one of these. `token`: undefined if the
 * operator has set none.
 */
export function administrate(question: Question, broker: Broker, token: string | undefined): Answer | undefined {
  const [, what = "", ...rest] = question.path.split("/");
  if (!Object.hasOwn(allowed, what)) return undefined;
  if (token === undefined) return text(403, "nothing may be changed here: the broker has no --http-token-file\n");
  if (!isToken(question.header("authorization"), token))
    return {
      ...text(401, "Authorization: Bearer TOKEN is missing, or wrong\n"),
      headers: { "www-authenticate": "Bearer" },
    };
  const name = decodeName(rest.join("/"));
  if (name === undefined) return text(400, "the name is not percent-encoded UTF-8\n");
  const { log, localSessions } = broker.context;
  switch (`${question.method} ${what}`) {
    case "GET log-level":
      return text(200, `${log.level}\n`);
    case "PUT log-level": {
      const level = question.body.trim();
      if (!logLevels.includes(level as LogLevel)) return text(400, `the level is one of ${logLevels.join(", ")}\n`);
      log.level = level;
      log.info(`the log level is ${level} now`);
      return text(200, `${level}\n`);
    }
    case "DELETE clients": {
      const connection = localSessions.get(name)?.connection;
      if (connection === undefined) return text(404, "no such client is connected to this broker\n");
      broker.disconnect(connection, Reason.administrativeAction, "an administrator has disconnected it");
      return text(200, "disconnected\n");
    }
    case "GET bans":
      return listBans(broker);
    case "PUT bans":
      return addBan(name, broker);
    case "DELETE bans":
      return liftBan(name, broker);
    default:
      return { ...text(405, usage), headers: { allow: allowed[what]! } };
  }
}

/** Returns a percent-decoded name; undefined if it is malformed. */
function decodeName(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}

function text(status: number, body: string): Answer {
  return { status, type: "text/plain", body };
}

/** Compares in a time that does not depend on where the texts differ. */
function isToken(authorization: string | null, token: string): boolean {
  const hash = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(hash(authorization ?? ""), hash(`Bearer ${token}`));
}
