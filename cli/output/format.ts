/** `sub -F FORMAT`: how a message is printed, in mosquitto_sub's terms: %t, %-10t, %08x, @H, \n. */
import strftime from "strftime";
import type { Message } from "../../src/client/connection-options.ts";
import { isExactNumber, parseExactly } from "./exact-json.ts";

interface Field {
  readonly what: string;
  readonly isLeft: boolean;
  readonly pad: " " | "0";
  /** 0: as long as it is. */
  readonly width: number;
  /** Undefined: all of it. */
  readonly precision: number | undefined;
}

type Part = { readonly text: string } | { readonly time: string } | Field;

export interface FormatOptions {
  /** JSON over several lines. */
  readonly isPretty: boolean;
  readonly now: Date;
  /** Makes what comes from outside fit for where it is printed; the format's own texts stay as they are. */
  readonly show?: (field: Uint8Array) => Uint8Array;
  /** Puts %t into a colour; as it is unless set. */
  readonly paintTopic?: (topic: Uint8Array) => Uint8Array;
  /** The payload as %p prints it; as it is unless set. */
  readonly payload?: Uint8Array;
}

/** A message's payload was to be printed as JSON, and is none: nothing is printed. */
export class NoJson extends Error {}

const fields = "AcCDEFIjJlmpPqrRsStUxX%";
const escapes: Record<string, string> = {
  "\\": "\\",
  0: "\0",
  a: "\x07",
  e: "\x1b",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** Throws `Error` that says what in the format is wrong. */
export function parseFormat(format: string): readonly Part[] {
  const parts: Part[] = [];
  let at = 0;
  while (at < format.length) {
    const rest = format.slice(at);
    const field = /^%(-?)(0?)(\d*)(?:\.(\d*))?(.)/s.exec(rest);
    if (field !== null) {
      const [whole, left, zero, width, precision, what] = field;
      if (!fields.includes(what!))
        throw new Error(`%${what} is none of ${[...fields].map((one) => `%${one}`).join(" ")}`);
      parts.push(
        what === "%"
          ? { text: "%" }
          : {
              what: what!,
              isLeft: left === "-",
              pad: zero === "0" && left === "" ? "0" : " ",
              width: Number(width),
              precision: precision === undefined ? undefined : Number(precision),
            },
      );
      at += whole.length;
    } else if (rest[0] === "%") throw new Error("it ends with a lone %");
    else if (rest[0] === "@") {
      if (rest.length === 1) throw new Error("it ends with a lone @");
      parts.push(rest[1] === "@" ? { text: "@" } : { time: rest[1]! });
      at += 2;
    } else if (rest[0] === "\\") {
      const text = escapes[rest[1] ?? ""];
      if (text === undefined)
        throw new Error(
          `\\${rest[1] ?? ""} is none of ${Object.keys(escapes)
            .map((one) => `\\${one}`)
            .join(" ")}`,
        );
      parts.push({ text });
      at += 2;
    } else {
      const text = /^[^%@\\]+/.exec(rest)![0];
      parts.push({ text });
      at += text.length;
    }
  }
  return parts;
}

/** Throws `NoJson`. */
export function formatMessage(parts: readonly Part[], message: Message, options: FormatOptions): Buffer {
  const { now, show = (field) => field, paintTopic = (topic) => topic } = options;
  return Buffer.concat(
    parts.map((part) => {
      if ("text" in part) return Buffer.from(part.text);
      if ("time" in part) return Buffer.from(timeText(part.time, now));
      const field = show(formatField(part, message, options));
      return part.what === "t" ? paintTopic(field) : field;
    }),
  );
}

/** Returns true if a format's own texts speak to a terminal, in colours say. */
export function hasEscapes(parts: readonly Part[]): boolean {
  return parts.some((part) => "text" in part && part.text.includes("\x1b"));
}

function formatField(field: Field, message: Message, { isPretty, now, payload: shown }: FormatOptions): Buffer {
  const { payload, topic, qos, retain, packetId, properties = {} } = message;
  switch (field.what) {
    case "p":
      return padBytes(Buffer.from(shown ?? payload), field);
    case "x":
      return padHex(Buffer.from(payload).toString("hex"), field);
    case "X":
      return padHex(Buffer.from(payload).toString("hex").toUpperCase(), field);
    case "t":
      return padText(topic, field);
    case "l":
      return padNumber(payload.length, field);
    case "m":
      return padNumber(packetId, field);
    case "q":
      return Buffer.from(String(qos));
    case "r":
      return Buffer.from(retain ? "1" : "0");
    case "j":
    case "J":
      return Buffer.from(toJson(message, { isPretty, now, isParsed: field.what === "J" }));
    case "I":
      return padText(strftime("%FT%T%z", now), field);
    case "U":
      return Buffer.from(`${Math.floor(now.getTime() / 1000)}.${String(now.getTime() % 1000).padStart(3, "0")}000000`);
    case "A":
      return padNumber(properties.topicAlias, field);
    case "C":
      return padText(properties.contentType ?? "", field);
    case "D":
      return Buffer.from(properties.correlationData ?? "");
    case "E":
      return padNumber(properties.messageExpiryInterval, field);
    case "F":
      return padNumber(
        properties.payloadFormatIndicator === undefined ? undefined : Number(properties.payloadFormatIndicator),
        field,
      );
    case "R":
      return properties.responseTopic === undefined ? Buffer.alloc(0) : padText(properties.responseTopic, field);
    case "S":
      return padNumber([properties.subscriptionIdentifier].flat()[0], field);
    case "P":
      return Buffer.from(
        userPairs(message)
          .map(([name, value]) => `${name}:${value}`)
          .join(" "),
      );
    default:
      return Buffer.alloc(0);
  }
}

function userPairs({ properties }: Message): [string, string][] {
  return Object.entries(properties?.userProperties ?? {}).flatMap(([name, values]) =>
    [values].flat().map((value): [string, string] => [name, value]),
  );
}

function toJson(message: Message, how: { isPretty: boolean; now: Date; isParsed: boolean }): string {
  const { topic, payload } = message;
  const text = Buffer.from(payload).toString("utf8");
  let value: unknown = text;
  if (how.isParsed || payload.length === 0) {
    try {
      value = payload.length === 0 ? null : parseExactly(text);
    } catch {
      throw new NoJson(`Message payload is not valid JSON on topic ${topic}.`);
    }
  }
  const whole = { ...describeMessage(message, how.now), payload: value };
  return how.isPretty ? prettyJson(whole, "") : JSON.stringify(whole);
}

/** Returns what is to be said of a message, but for its payload; with mosquitto's names, in its order. */
export function describeMessage(message: Message, now: Date): Record<string, unknown> {
  const { topic, qos, retain, payload, packetId } = message;
  const properties = jsonProperties(message);
  return {
    tst: strftime("%FT%T.%L000Z%z", now),
    topic,
    qos,
    retain: retain ? 1 : 0,
    payloadlen: payload.length,
    ...(qos > 0 ? { mid: packetId } : {}),
    ...(properties === undefined ? {} : { properties }),
  };
}

/** As cJSON prints it, for whoever compares: members on lines of their own, items of lists in one. */
function prettyJson(value: unknown, indent: string): string {
  if (Array.isArray(value)) return `[${value.map((item) => prettyJson(item, indent)).join(", ")}]`;
  if (typeof value !== "object" || value === null || isExactNumber(value)) return JSON.stringify(value);
  const deeper = `${indent}\t`;
  const members = Object.entries(value).map(
    ([key, item]) => `${deeper}${JSON.stringify(key)}:\t${prettyJson(item, deeper)}`,
  );
  return members.length === 0 ? `{\n${indent}}` : `{\n${members.join(",\n")}\n${indent}}`;
}

function jsonProperties(message: Message): Record<string, unknown> | undefined {
  const { properties } = message;
  if (properties === undefined) return undefined;
  const { payloadFormatIndicator, userProperties, correlationData, subscriptionIdentifier, ...rest } = properties;
  const pairs = userPairs(message);
  const all: Record<string, unknown> = {
    ...(payloadFormatIndicator === undefined ? {} : { payloadFormatIndicator: Number(payloadFormatIndicator) }),
    ...rest,
    ...(correlationData === undefined ? {} : { correlationData: Buffer.from(correlationData).toString("utf8") }),
    ...(subscriptionIdentifier === undefined ? {} : { subscriptionIdentifier: [subscriptionIdentifier].flat()[0] }),
    ...(userProperties === undefined ? {} : { userProperties: Object.fromEntries(pairs) }),
  };
  return Object.fromEntries(Object.entries(all).map(([key, value]) => [kebabCase(key), value]));
}

function kebabCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function padBytes(bytes: Buffer, { width, isLeft, pad }: Field): Buffer {
  const shown = width > 0 && bytes.length > width ? bytes.subarray(0, width) : bytes;
  const missing = Buffer.alloc(Math.max(0, width - shown.length), isLeft ? " " : pad);
  return Buffer.concat(isLeft ? [shown, missing] : [missing, shown]);
}

/** A byte is two digits, and is not cut in half. */
function padHex(digits: string, field: Field): Buffer {
  const { width } = field;
  const shown = width > 0 && digits.length > width ? digits.slice(0, width - (width % 2)) : digits;
  return padBytes(Buffer.from(shown), field);
}

function padText(text: string, { width, isLeft, pad, precision }: Field): Buffer {
  const shown = precision === undefined ? text : text.slice(0, precision);
  return Buffer.from(isLeft ? shown.padEnd(width) : shown.padStart(width, pad));
}

/** Pads a number to a field's width; undefined is blank. */
function padNumber(value: number | undefined, { width, isLeft, pad }: Field): Buffer {
  if (value === undefined) return Buffer.alloc(width, pad);
  const text = String(value);
  return Buffer.from(isLeft ? text.padEnd(width) : text.padStart(width, pad));
}

/** Conversions that the library gives in another way than the C locale, in which mosquitto_sub prints. */
const asInC: Record<string, string> = { c: "%a %b %e %H:%M:%S %Y", x: "%m/%d/%y", X: "%H:%M:%S" };

/** One conversion of strftime(3) in local time; N: nanoseconds. */
function timeText(what: string, now: Date): string {
  if (what === "N") return `${String(now.getMilliseconds()).padStart(3, "0")}000000`;
  const text = strftime(asInC[what] ?? `%${what}`, now);
  return text === `%${what}` ? "" : text;
}
