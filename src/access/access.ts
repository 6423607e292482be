/**
 * Authenticates clients: decides who may come in, and as whom. Asked in this order, the first that knows the client
 * decides: a certificate, a token, the password file, the hook. A client that says nothing of itself is let in only
 * where the operator has said so.
 */
import { createHmac, randomBytes } from "node:crypto";
import { loginsCachedMax, loginsPendingMax } from "../base/access-limits.ts";
import { decodeUtf8 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Work } from "../base/slices.ts";
import { Acl, permissionsFrom, type Topics } from "./acl.ts";
import { hashPassword, isPasswordOf } from "./hashes.ts";
import type { Hook } from "./hook.ts";
import { readPasswordFile, type Users } from "./password-file.ts";
import type { Permissions } from "./permissions.ts";
import { commonShape, ScramExchange } from "./scram.ts";
import { fixedKeys, type KeySource, KeysUnavailable, readTokenKeys } from "./token-keys.ts";
import { looksLikeToken, type TokenFacts, Tokens, type TokenTerms } from "./tokens.ts";

/** An authenticated client: who it is, and what follows from that. */
export interface Identity {
  readonly username: string | undefined;
  /** Undefined: the ACL file says what he may do. */
  readonly topics: Topics | undefined;
  /** The time until which this holds, in ms since 1970. */
  readonly expiresAt: number;
  /** The user's entry in the password file: when that is changed or removed, its clients are disconnected. */
  readonly entry: string | undefined;
  /** The key that has signed its token: when that is withdrawn, the client is disconnected. */
  readonly keyId: string | undefined;
}

export interface Applicant {
  readonly clientId: string;
  readonly username: string | undefined;
  readonly password: Uint8Array | undefined;
  readonly address: string;
  /** The user name that a verified certificate gives; "": it has nothing of the kind. */
  readonly certificate: string | undefined;
}

/** busy: not decided, come later. */
export type Verdict =
  | { readonly kind: "welcome"; readonly identity: Identity }
  | { readonly kind: "refused" | "busy"; readonly why: string };

export interface AccessPolicy {
  /** Clients without a user name are let in. */
  readonly allowAnonymous: boolean;
  readonly hook: Hook | undefined;
  /** Told of lines of the password file that cannot be used: their users cannot come in. */
  readonly warn: (why: string) => void;
  /** The terms that tokens must meet; undefined: none. */
  readonly tokenTerms?: TokenTerms | undefined;
  /**
   * Returns the secret by which users that are not there are made up: the same at all brokers and starts; undefined:
   * one of this process alone.
   */
  readonly decoySecret?: (() => Uint8Array | undefined) | undefined;
  /** Where the keys for tokens come from, if not from a file. */
  readonly keySet?: KeySource | undefined;
}

/** Texts of the operator's files; undefined: there is none. */
export interface AccessFiles {
  readonly passwords?: string | undefined;
  readonly acl?: string | undefined;
  readonly tokenKey?: string | undefined;
}

export class Access {
  readonly #policy: AccessPolicy;
  readonly #clock: Clock;
  #users: Users | undefined;
  #acl: Acl | undefined;
  #tokens: Tokens | undefined;
  #pending = 0;
  /** The key for hashes that must not be guessed from outside, while this process lives. */
  readonly #secret = randomBytes(32);
  /** Names, hashes and passwords that were found to fit, themselves hashed with the secret. */
  #fitting = new Set<string>();
  /** The entries of the password file: for a user that is not there one is checked, so that he takes as long. */
  #hashes: readonly string[] = [];
  /** The hash that is checked where there are no users. */
  #decoy: Promise<string> | undefined;
  #scramShape = commonShape(new Map());

  constructor(policy: AccessPolicy, clock: Clock) {
    this.#policy = policy;
    this.#clock = clock;
    if (policy.keySet !== undefined) this.#tokens = new Tokens(policy.keySet, policy.tokenTerms);
  }

  /**
   * Takes over what has changed, step by step, since an access list may be long: what it has counts until the end.
   * Throws `OperatingError`, and stays with what it has.
   */
  *load({ passwords, acl, tokenKey }: AccessFiles): Work {
    const users =
      passwords === undefined
        ? undefined
        : yield* readPasswordFile(passwords, (why) => this.#policy.warn(`password file: ${why}`));
    const rules = acl === undefined ? undefined : yield* Acl.read(acl);
    const tokens = tokenKey === undefined ? undefined : this.#tokensBy(tokenKey);
    this.#users = users ?? this.#users;
    this.#acl = rules ?? this.#acl;
    this.#tokens = tokens ?? this.#tokens;
    if (users !== undefined) {
      this.#fitting = new Set();
      this.#hashes = [...users.values()];
      this.#scramShape = commonShape(users);
    }
    this.#policy.hook?.forget();
  }

  /** True if there is anything by which clients are told apart. */
  get hasCredentials(): boolean {
    return this.#users !== undefined || this.#tokens !== undefined || this.#policy.hook !== undefined;
  }

  /** True if clients may come as more than one user, of whom each has proven who he is, or is anonymous. */
  get hasSeveralUsers(): boolean {
    if (this.#tokens !== undefined || this.#policy.hook !== undefined) return true;
    return (this.#users?.size ?? 0) + (this.#policy.allowAnonymous ? 1 : 0) > 1;
  }

  /** Returns the rules for a client; undefined: it may do everything. */
  permissionsOf(identity: Identity, clientId: string): Permissions | undefined {
    const subject = { username: identity.username, clientId };
    if (identity.topics !== undefined) return permissionsFrom(identity.topics, subject);
    return this.#acl?.permissionsOf(subject);
  }

  /** Says why somebody who was let in would not be any more; undefined: he would. */
  whyNotKnown({ entry, keyId, username }: Identity): string | undefined {
    if (keyId !== undefined && this.#tokens?.stillKnows(keyId) === false)
      return "the key of its token has been withdrawn";
    if (entry === undefined || username === undefined || this.#users === undefined) return undefined;
    const now = this.#users.get(username);
    if (now === undefined) return "its user has been removed";
    return now === entry ? undefined : "its user's password has been changed";
  }

  /** The identity of a user who has proven his password otherwise. */
  identityOf(username: string): Identity {
    return identityOf(username, { entry: this.#users?.get(username) });
  }

  /** An exchange of SCRAM; undefined: there is no password file. */
  scram(nonce: string): ScramExchange | undefined {
    const decoys = { ...this.#scramShape, secret: this.#decoySecret };
    return this.#users && new ScramExchange(this.#users, { decoys, nonce });
  }

  /** `done` is called once, maybe before this returns. */
  authenticate(applicant: Applicant, done: (verdict: Verdict) => void): void {
    if (applicant.certificate === "") return done(refused("its certificate names nobody"));
    if (applicant.certificate !== undefined) return done(welcome(applicant.certificate));
    if (applicant.username === undefined && applicant.password === undefined) {
      if (this.#policy.allowAnonymous) return done(welcome(undefined));
      if (this.#policy.hook === undefined) return done(refused("it gives no user name, and nobody may be anonymous"));
    }
    // Nothing to tell clients apart by: the name is what the client calls itself.
    if (!this.hasCredentials)
      return done(this.#policy.allowAnonymous ? welcome(applicant.username) : refused("nobody may come in"));
    if (this.#pending >= loginsPendingMax) return done({ kind: "busy", why: "too many logins are being checked" });
    this.#pending++;
    this.#decide(applicant)
      .catch((error): Verdict => refused(messageOf(error)))
      .then((verdict) => {
        this.#pending--;
        done(verdict);
      });
  }

  async #decide(applicant: Applicant): Promise<Verdict> {
    const { username, password } = applicant;
    const text = password === undefined ? "" : textOf(password);
    if (this.#tokens !== undefined && looksLikeToken(text)) return this.#byToken(this.#tokens, applicant, text);
    const hash = username === undefined ? undefined : this.#users?.get(username);
    if (hash !== undefined && username !== undefined) {
      // An empty password is none.
      const fits = password !== undefined && password.length > 0 && (await this.#fits(username, hash, password));
      return fits
        ? welcome(username, { entry: hash })
        : refused(`the password of ${JSON.stringify(username)} is wrong`);
    }
    if (this.#policy.hook !== undefined) return this.#byHook(this.#policy.hook, applicant, text);
    if (password !== undefined && password.length > 0) await this.#fitDecoy(username ?? "", password);
    return refused(`there is no user ${JSON.stringify(username ?? "")}`);
  }

  #tokensBy(key: string): Tokens {
    return new Tokens(fixedKeys(readTokenKeys(key)), this.#policy.tokenTerms);
  }

  async #byToken(tokens: Tokens, { username, clientId }: Applicant, text: string): Promise<Verdict> {
    let facts: TokenFacts;
    try {
      facts = await tokens.verify(text, { now: this.#clock.now(), wall: this.#clock.wall() });
    } catch (error) {
      if (error instanceof KeysUnavailable) return { kind: "busy", why: error.message };
      return refused(`its token is not valid: ${messageOf(error)}`);
    }
    if (facts.clientId !== undefined && facts.clientId !== clientId) return refused("its token is another client's");
    // Else whoever has such a token could call himself by any name.
    if (facts.username === undefined) return refused("its token names nobody: it has neither sub nor username");
    if (username !== undefined && username !== "" && facts.username !== username)
      return refused("its token is another user's");
    const { topics, expiresAt, keyId } = facts;
    return welcome(facts.username, { topics, expiresAt, keyId });
  }

  async #byHook(hook: Hook, applicant: Applicant, password: string): Promise<Verdict> {
    const { clientId: clientid, username = null, address } = applicant;
    const question = { clientid, username, password: applicant.password ? password : null, address, certificate: null };
    const answer = await hook.ask(question, this.#clock.now());
    if (answer.result !== "allow") return refused(answer.why);
    return welcome(answer.username ?? username ?? undefined, { topics: answer.topics });
  }

  async #fits(username: string, hash: string, password: Uint8Array): Promise<boolean> {
    const key = createHmac("sha256", this.#secret).update(`${username}\n${hash}\n`).update(password).digest("base64");
    const fitting = this.#fitting;
    if (fitting.has(key)) return true;
    if (!(await isPasswordOf(hash, password))) return false;
    if (fitting.size >= loginsCachedMax) fitting.clear();
    fitting.add(key);
    return true;
  }

  /** Checks another user's entry in vain, always the same for a name: of whatever kinds the entries are. */
  async #fitDecoy(username: string, password: Uint8Array): Promise<void> {
    this.#decoy ??= this.#hashes.length > 0 ? undefined : hashPassword(randomBytes(16).toString("hex"));
    const at = createHmac("sha256", this.#decoySecret).update(username).digest().readUInt32BE(0) % this.#hashes.length;
    await isPasswordOf(this.#hashes[at] ?? (await this.#decoy!), password);
  }

  get #decoySecret(): Uint8Array {
    return this.#policy.decoySecret?.() ?? this.#secret;
  }
}

function welcome(username: string | undefined, known: Known = {}): Verdict {
  return { kind: "welcome", identity: identityOf(username, known) };
}

type Known = Partial<Omit<Identity, "username">>;

function identityOf(username: string | undefined, { topics, expiresAt = Infinity, entry, keyId }: Known): Identity {
  return { username, topics, expiresAt, entry, keyId };
}

function refused(why: string): Verdict {
  return { kind: "refused", why };
}

function textOf(bytes: Uint8Array): string {
  return decodeUtf8(bytes, 0, bytes.length);
}
