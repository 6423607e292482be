/** Checks of the options that an application gives the client, before anything is dialled. */
import { sessionNeverExpires } from "../mqtt/constants.ts";
import { isTopicName } from "../mqtt/topic.ts";
import { checkBinary, checkInteger, checkText, shownValue } from "./checks.ts";
import type { ClientOptions } from "./client-options.ts";
import { checkHeaders } from "./headers.ts";
import { currentNames, type OnOldName } from "./old-names.ts";
import { checkNames } from "./other-names.ts";
import { checkUserProperties } from "./outgoing-publish.ts";
import { scramMethod } from "./scram.ts";

/** Throws a `TypeError` that names the option, if a value is of the wrong type or out of range. */
type Check = (name: string, value: unknown) => void;

/** Seconds and milliseconds that a timer of the runtime can wait. */
const timerMsMax = 0x7fff_ffff;
const uint16Max = 0xffff;
const uint32Max = 0xffff_ffff;

const flag: Check = (name, value) => need(name, typeof value === "boolean", "true or false", value);
const callback: Check = (name, value) => need(name, typeof value === "function", "a function", value);
const record: Check = (name, value) => need(name, isRecord(value), "an object", value);
const integer =
  (min: number, max: number): Check =>
  (name, value) =>
    checkInteger(name, value, [min, max]);
const oneOf =
  (...values: readonly unknown[]): Check =>
  (name, value) =>
    need(name, values.includes(value), values.map(shownValue).join(" or "), value);
const duration =
  (max: number): Check =>
  (name, value) =>
    need(name, typeof value === "number" && value >= 0 && value <= max, `a number from 0 to ${max}`, value);
/** A whole number, or `Infinity`. */
const orInfinity =
  (max: number): Check =>
  (name, value) =>
    value === Infinity || checkInteger(name, value, [0, max]);
const parts =
  (checks: Readonly<Record<string, Check>>, required: readonly string[] = []): Check =>
  (name, value) => {
    record(name, value);
    checkAll(value as object, checks, `${name}.`);
    for (const part of required)
      if ((value as Record<string, unknown>)[part] === undefined) throw new TypeError(`${name} needs a ${part}`);
  };

const will = parts(
  {
    topic: (name, value) => {
      checkText(name, value);
      need(name, isTopicName(value), "a topic, not empty and without + and #", value);
    },
    payload: checkBinary,
    qos: oneOf(0, 1, 2),
    retain: flag,
    delayMs: duration(uint32Max * 1000),
    expiryMs: duration(uint32Max * 1000),
    contentType: checkText,
    responseTopic: checkText,
    correlationData: (name, value) => {
      need(name, value instanceof Uint8Array, "a Uint8Array", value);
      checkBinary(name, value);
    },
    userProperties: (_, value) => void checkUserProperties(value),
    isText: flag,
  },
  ["topic", "payload"],
);

const checks: Readonly<Record<keyof CurrentOptions, Check>> = {
  clientId: checkText,
  sessionExpiryMs: (name, value) => value === Infinity || duration(sessionNeverExpires * 1000)(name, value),
  clean: flag,
  keepAliveMs: duration(uint16Max * 1000),
  username: checkText,
  password: (name, value) => typeof value === "function" || checkBinary(name, value),
  version: oneOf(4, 5),
  tls: record,
  webSocket: parts({ headers: (_, value) => typeof value === "function" || checkHeaders(value) }),
  auth: oneOf(scramMethod),
  will,
  userProperties: (_, value) => void checkUserProperties(value),
  receiveMaximum: integer(1, uint16Max),
  packetBytesMax: integer(1, uint32Max),
  connectTimeoutMs: duration(timerMsMax),
  reconnect: (name, value) =>
    value === false || parts({ minMs: duration(timerMsMax), maxMs: duration(timerMsMax) })(name, value),
  store: (name, value) =>
    need(
      name,
      ["open", "write", "close"].every((part) => typeof (value as never)?.[part] === "function"),
      "a store",
      value,
    ),
  offline: parts({ messagesMax: orInfinity(Number.MAX_SAFE_INTEGER), whenFull: oneOf("reject", "drop-oldest") }),
  retry: oneOf("for ever", "never"),
  onStatus: callback,
  onLog: callback,
  // Not by its class: some runtimes bring one of their own.
  signal: (name, value) => need(name, isRecord(value) && "aborted" in (value as object), "an AbortSignal", value),
};

/** The options of a client under their names of now. */
export type CurrentOptions = Omit<ClientOptions, "sessionExpiry" | "keepAlive" | "connectTimeout">;

/**
 * Checks all options, and returns them under their names of now. Throws a `TypeError` for the first that cannot be
 * meant.
 */
export function checkedOptions(given: ClientOptions, onOldName: OnOldName): CurrentOptions {
  record("the options", given);
  const options = currentNames(given, "client", onOldName);
  const { will } = options;
  if (!isRecord(will)) return checkCurrent(options);
  return checkCurrent({ ...options, will: currentNames(will!, "will", onOldName) });
}

function checkCurrent(options: CurrentOptions): CurrentOptions {
  checkNames(options, "client");
  checkAll(options, checks, "");
  const { sessionExpiryMs = 0, clientId, auth, version = 5 } = options;
  if (options.store !== undefined && sessionExpiryMs === 0)
    throw new TypeError("a store needs a sessionExpiryMs: else the broker forgets what it has seen of a message");
  if (auth !== undefined && version < 5) throw new TypeError("auth needs MQTT 5");
  if (sessionExpiryMs > 0 && clientId === undefined)
    throw new TypeError("a session that outlives its connection needs a clientId");
  return options;
}

function checkAll(values: object, known: Readonly<Record<string, Check>>, prefix: string): void {
  for (const [name, check] of Object.entries(known)) {
    const value = (values as Record<string, unknown>)[name];
    if (value !== undefined) check(`${prefix}${name}`, value);
  }
}

function need(name: string, isRight: boolean, what: string, value: unknown): void {
  if (!isRight) throw new TypeError(`${name} must be ${what}, not ${shownValue(value)}`);
}

function isRecord(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
