/**
 * Reads the frames that are JSON. Another broker may be newer, or not one at all: every field is looked at before it is
 * believed, so that a wrong one closes the link, and nothing else.
 */
import { decodeUtf8 } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { Reason } from "../mqtt/reason.ts";
import type { Challenge, Confirm, Control, Hello, Remain, Welcome } from "./frames.ts";

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string";
const isNumber: Check = (value) => typeof value === "number";
const isFlag: Check = (value) => typeof value === "boolean";
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);
const isSession: Check = (value) => Array.isArray(value) && value.length === 2 && isCount(value[0]) && isText(value[1]);

/** True, or absent: brokers that know nothing of the field leave it out. */
const isTrueOrAbsent: Check = (value) => value === undefined || value === true;
const isTextOrAbsent: Check = (value) => value === undefined || isText(value);
const isNumberOrAbsent: Check = (value) => value === undefined || isNumber(value);

type Fields<Body> = { readonly [Name in keyof Body]-?: Check };

const hello: Fields<Hello> = { protocol: isText, id: isText, epoch: isNumber, nonce: isText };
const challenge: Fields<Challenge> = { nonce: isText };
const welcome: Fields<Welcome> = { ...hello, received: isCount, proof: isText };
const confirm: Fields<Confirm> = { received: isCount, proof: isText };
const remain: Fields<Remain> = {
  id: isCount,
  unpaid: isTrueOrAbsent,
  handles: listOf(isCount),
  groups: listOf(isText),
};

/** The fields of each `Control`, besides what it says. */
const controls: { readonly [Say in Control["say"]]: Fields<Omit<Extract<Control, { say: Say }>, "say">> } = {
  claim: {
    number: isCount,
    clientId: isText,
    stamp: isNumber,
    clean: isFlag,
    user: isTextOrAbsent,
    maybeLate: isTrueOrAbsent,
  },
  claimed: {
    number: isCount,
    granted: isFlag,
    isAnothers: isTrueOrAbsent,
    newest: isNumberOrAbsent,
    willRemains: isTrueOrAbsent,
  },
  hosting: { sessions: listOf(isSession) },
  unhosting: { handles: listOf(isCount) },
  see: { number: isCount, zxid: isNumber },
  seen: { number: isCount },
  full: { clientId: isText },
  freed: { paths: listOf(isText) },
  remained: {},
  short: {},
  ask: { number: isCount, question: isText },
  answered: { number: isCount, answer: isText },
  hold: {},
  go: {},
};

/** Reads a `Hello`. Throws `ProtocolError`. */
export function decodeHello(bytes: Uint8Array, start: number, end: number): Hello {
  return checked<Hello>(readObject(bytes, start, end), hello);
}

/** Reads a `Challenge`. Throws `ProtocolError`. */
export function decodeChallenge(bytes: Uint8Array, start: number, end: number): Challenge {
  return checked<Challenge>(readObject(bytes, start, end), challenge);
}

/** Reads a `Welcome`. Throws `ProtocolError`. */
export function decodeWelcome(bytes: Uint8Array, start: number, end: number): Welcome {
  return checked<Welcome>(readObject(bytes, start, end), welcome);
}

/** Reads a `Confirm`. Throws `ProtocolError`. */
export function decodeConfirm(bytes: Uint8Array, start: number, end: number): Confirm {
  return checked<Confirm>(readObject(bytes, start, end), confirm);
}

/** Reads a `Remain`. Throws `ProtocolError`. */
export function decodeRemain(bytes: Uint8Array, start: number, end: number): Remain {
  return checked<Remain>(readObject(bytes, start, end), remain);
}

/** Reads a `Control`. Throws `ProtocolError`, also if it is of no kind that is known. */
export function decodeLinkControl(bytes: Uint8Array, start: number, end: number): Control {
  const body = readObject(bytes, start, end);
  const { say } = body;
  if (typeof say !== "string" || !Object.hasOwn(controls, say)) throw wrong("says what is not known");
  return checked<Control>(body, controls[say as Control["say"]]);
}

function readObject(bytes: Uint8Array, start: number, end: number): Record<string, unknown> {
  let body: unknown;
  try {
    body = JSON.parse(decodeUtf8(bytes, start, end));
  } catch {
    throw wrong("is not JSON");
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw wrong("is no JSON object");
  return body as Record<string, unknown>;
}

function checked<Body>(body: Record<string, unknown>, fields: Readonly<Record<string, Check>>): Body {
  for (const [name, check] of Object.entries(fields)) if (!check(body[name])) throw wrong(`has no right "${name}"`);
  return body as Body;
}

function wrong(why: string): ProtocolError {
  return new ProtocolError(Reason.malformedPacket, `a frame ${why}`);
}
