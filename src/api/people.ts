/**
 * The users of the API. Where there are some, everybody shows a name and a password, or a bearer token that he was
 * given for them; the operator's own token does as well. Where there are neither, this machine alone is answered, and
 * may do everything. Too many wrong passwords have an address or a user banned for a while, as at the MQTT door.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { Access, type Identity } from "../access/access.ts";
import { Bans } from "../access/bans.ts";
import { parseRoleFile, type Role } from "../access/role-file.ts";
import { apiTokenMs, apiTokensMax } from "../base/api-limits.ts";
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import { finish } from "../base/slices.ts";
import { Problem } from "./problem.ts";
import type { Caller } from "./route.ts";

/** The sender of a request, as far as the request says. */
export interface Sender {
  readonly authorization: string | null;
  /** The address from which it has come. */
  readonly address: string;
  /** The Host that it names; null: none. */
  readonly host: string | null;
  /** True if a proxy says that it has passed it on: its address is not its sender's then. */
  readonly isPassedOn: boolean;
  /** True if it has come over the broker's own socket, which only its owner can open. */
  readonly isOwner: boolean;
}

export interface PeopleParts {
  readonly clock: Clock;
  readonly random: Random;
  /** The operator's token (`--http-token-file`); undefined: there is none. */
  readonly token: string | undefined;
  /** The failed logins that lead to a ban, and for how long. */
  readonly banPolicy: { readonly failures: number; readonly ms: number };
}

interface Token {
  readonly username: string;
  readonly identity: Identity;
  readonly until: number;
}

/** The name, in the audit log, of whoever shows the operator's token, or comes from this machine. */
export const byToken = "(token)";
const byOwner = "(control socket)";
const byLoopback = "(this machine)";

/** Finds out who sends requests, and gives tokens. */
export class People {
  readonly #parts: PeopleParts;
  readonly #access: Access;
  readonly #bans: Bans;
  /** Users with their roles; undefined: there is no file of them. */
  #roles: ReadonlyMap<string, Role> | undefined;
  /** Tokens by their hashes, the oldest first. */
  readonly #tokens = new Map<string, Token>();

  constructor(parts: PeopleParts) {
    this.#parts = parts;
    this.#bans = new Bans(parts.banPolicy);
    this.#access = new Access({ allowAnonymous: false, hook: undefined, warn: () => {} }, parts.clock);
  }

  /** Takes over the file of users. Throws `OperatingError`, and stays with what it has. */
  load(text: string): void {
    const users = parseRoleFile(text);
    const passwords = [...users].map(([name, { hash }]) => `${name}:${hash}\n`).join("");
    finish(this.#access.load({ passwords }));
    this.#roles = new Map([...users].map(([name, { role }]) => [name, role]));
  }

  /** Finds out who sends a request; `done` is called once, maybe before this returns. */
  identify(sender: Sender, done: (caller: Caller | Problem) => void): void {
    const { authorization, address } = sender;
    if (sender.isOwner) return done({ name: byOwner, role: "operator", from: "", token: undefined });
    const [scheme = "", ...rest] = (authorization ?? "").split(" ");
    const shown = rest.join(" ").trim();
    if (this.#roles === undefined && this.#parts.token === undefined) return done(this.#onThisMachine(sender));
    if (this.#bans.isAddressBanned(address, this.#parts.clock.now())) return done(banned());
    if (/^bearer$/i.test(scheme)) return done(this.#byToken(shown, address));
    if (/^basic$/i.test(scheme) && this.#roles !== undefined) return this.#byPassword(shown, address, done);
    done(this.#unknown("say who you are: Authorization: Basic (a user of --http-users), or Bearer TOKEN"));
  }

  /** Gives a user a token; returns undefined if he is none of the file. */
  giveToken({ name }: Caller): { readonly token: string; readonly until: number } | undefined {
    if (this.#roles?.has(name) !== true) return undefined;
    const token = this.#parts.random.hex(32);
    const until = this.#parts.clock.wall() + apiTokenMs;
    if (this.#tokens.size >= apiTokensMax) this.#tokens.delete(this.#tokens.keys().next().value!);
    this.#tokens.set(hashOf(token), { username: name, identity: this.#access.identityOf(name), until });
    return { token, until };
  }

  /** Takes back the token with which a request was sent. Returns false if there was none. */
  takeToken({ token }: Caller): boolean {
    return token !== undefined && this.#tokens.delete(token);
  }

  #onThisMachine({ address, host, isPassedOn }: Sender): Caller | Problem {
    const why =
      !isLoopback(address) || isPassedOn
        ? "only this machine is answered, since there are no users: give the broker --http-users FILE"
        : host !== null && !isLoopback(host.replace(/:\d*$/, ""))
          ? `only http://localhost and addresses of this machine are answered, not ${host.slice(0, 80)}`
          : undefined;
    if (why !== undefined) return new Problem(403, why);
    return { name: byLoopback, role: "operator", from: address, token: undefined };
  }

  #byToken(shown: string, from: string): Caller | Problem {
    const { token, clock } = this.#parts;
    if (token !== undefined && isSame(shown, token)) return { name: byToken, role: "operator", from, token: undefined };
    const key = hashOf(shown);
    const given = this.#tokens.get(key);
    if (given !== undefined) {
      const role = this.#roles?.get(given.username);
      const isValid = given.until > clock.wall() && this.#access.whyNotKnown(given.identity) === undefined;
      if (role !== undefined && isValid) return { name: given.username, role, from, token: key };
      this.#tokens.delete(key);
      return this.#unknown("the token is not valid any more: ask for another one with POST /api/v1/tokens");
    }
    this.#bans.failed({ address: from, username: undefined }, clock.now());
    return this.#unknown("the token is wrong");
  }

  #byPassword(shown: string, from: string, done: (caller: Caller | Problem) => void): void {
    const { clock } = this.#parts;
    const words = Buffer.from(shown, "base64").toString("utf8");
    const colon = words.indexOf(":");
    if (colon === -1) return done(this.#unknown("Authorization: Basic is malformed"));
    const [username, password] = [words.slice(0, colon), Buffer.from(words.slice(colon + 1))];
    const contender = { address: from, username };
    if (this.#bans.isBanned(contender, clock.now())) return done(banned());
    const applicant = { clientId: "", username, password, address: from, certificate: undefined };
    this.#access.authenticate(applicant, (verdict) => {
      // Others may have failed meanwhile: whether it was right must not be told any more.
      if (this.#bans.isBanned(contender, clock.now())) return done(banned());
      if (verdict.kind === "busy") return done(new Problem(503, verdict.why, { "retry-after": "1" }));
      const role = this.#roles?.get(username);
      if (verdict.kind === "refused" || role === undefined) {
        this.#bans.failed(contender, clock.now());
        return done(this.#unknown("user or password is wrong"));
      }
      this.#bans.succeeded(contender);
      done({ name: username, role, from, token: undefined });
    });
  }

  #unknown(detail: string): Problem {
    const basic = this.#roles === undefined ? "" : 'Basic realm="mqttzoo", charset="UTF-8", ';
    return new Problem(401, detail, { "www-authenticate": `${basic}Bearer realm="mqttzoo"` });
  }
}

function banned(): Problem {
  return new Problem(429, "too many logins have failed: come back later", { "retry-after": "60" });
}

/** Returns true for an address, or a name, of this machine. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?|\[?::ffff:127(\.\d{1,3}){3}\]?)$/i.test(host);
}

function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("base64");
}

/** Compares in a time that does not depend on where the texts differ. */
function isSame(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(hashOf(a)), Buffer.from(hashOf(b)));
}
