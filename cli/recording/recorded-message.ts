/** The lines of a recording: its heading and its messages, as JSON that other programs can read and make. */
import { OperatingError } from "../../src/base/errors.ts";
import type { Message, PublishOptions, PublishProperties } from "../../src/client/connection-options.ts";
import type { QoS } from "../../src/mqtt/constants.ts";
import { isTopicName } from "../../src/mqtt/topic.ts";

/** The version of the lines, which stands in the first one. */
const formatVersion = 1;

/** The first line of a recording. */
export interface Heading {
  /** When it was begun, ISO 8601. */
  readonly at: string;
  readonly filters: readonly string[];
}

/** A message with the milliseconds since the recording's beginning at which it came. */
export interface RecordedMessage {
  readonly ms: number;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly options: PublishOptions & { readonly qos: QoS; readonly retain: boolean };
}

/** Properties that a publisher may set, and what they are in JSON; all others belong to one delivery alone. */
const propertyKinds = {
  payloadFormatIndicator: "boolean",
  messageExpiryInterval: "number",
  contentType: "string",
  responseTopic: "string",
  correlationData: "base64",
  userProperties: "pairs",
} as const;

const base64 = /^([\w+/-]{4})*([\w+/-]{2}(==)?|[\w+/-]{3}=?)?$/;

/** Returns the first line. */
export function headingLine({ at, filters }: Heading): string {
  return `${JSON.stringify({ recording: formatVersion, at, filters })}\n`;
}

/** Returns the line of a message; a payload that is not UTF-8 stands there as base64. */
export function messageLine(message: Message, ms: number): string {
  const { topic, payload, qos, retain } = message;
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  const text = bytes.toString("utf8");
  const properties = propertiesToWrite(message.properties);
  return `${JSON.stringify({
    ms: Math.round(ms * 1000) / 1000,
    topic,
    ...(Buffer.from(text).equals(bytes) ? { payload: text } : { base64: bytes.toString("base64") }),
    ...(qos > 0 && { qos }),
    ...(retain && { retain }),
    ...(properties !== undefined && { properties }),
  })}\n`;
}

function propertiesToWrite(given: PublishProperties | undefined): object | undefined {
  const kept = Object.entries(given ?? {}).flatMap(([name, value]): [string, unknown][] => {
    if (!Object.hasOwn(propertyKinds, name) || value === undefined) return [];
    const kind = propertyKinds[name as keyof typeof propertyKinds];
    return [[name, kind === "base64" ? Buffer.from(value as Uint8Array).toString("base64") : value]];
  });
  return kept.length === 0 ? undefined : Object.fromEntries(kept);
}

/** Reads a line; undefined: it is a heading, or blank. Throws `OperatingError` (EFORMAT) if it is none of these. */
export function readLine(line: string): RecordedMessage | undefined {
  if (line.trim() === "") return undefined;
  let read: unknown;
  try {
    read = JSON.parse(line);
  } catch {
    return wrong("it is no JSON");
  }
  if (typeof read !== "object" || read === null || Array.isArray(read)) return wrong("it is no JSON object");
  const { recording, ms, topic, payload, base64: coded, qos = 0, retain = false, properties } = read as Line;
  if (recording !== undefined)
    return recording === formatVersion ? undefined : wrong(`it is of version ${recording}; ${formatVersion} is read`);
  if (typeof ms !== "number" || !(ms >= 0)) return wrong('"ms" must be a number of milliseconds from 0');
  if (typeof topic !== "string" || !isTopicName(topic)) return wrong('"topic" must be a topic to publish to');
  if (qos !== 0 && qos !== 1 && qos !== 2) return wrong('"qos" must be 0, 1 or 2');
  if (typeof retain !== "boolean") return wrong('"retain" must be true or false');
  if ((payload === undefined) === (coded === undefined)) return wrong('there must be either "payload" or "base64"');
  if (payload !== undefined && typeof payload !== "string") return wrong('"payload" must be a text');
  if (coded !== undefined && (typeof coded !== "string" || !base64.test(coded))) return wrong('"base64" is none');
  const kept = properties === undefined ? {} : { properties: readProperties(properties) };
  const bytes = coded === undefined ? Buffer.from(payload as string) : Buffer.from(coded, "base64");
  return { ms, topic, payload: bytes, options: { qos, retain, ...kept } };
}

/** The members of a line, none of which need be there. */
interface Line {
  readonly recording?: unknown;
  readonly ms?: unknown;
  readonly topic?: unknown;
  readonly payload?: unknown;
  readonly base64?: unknown;
  readonly qos?: unknown;
  readonly retain?: unknown;
  readonly properties?: unknown;
}

function readProperties(given: unknown): PublishProperties {
  if (typeof given !== "object" || given === null || Array.isArray(given))
    return wrong('"properties" must be an object');
  const read = Object.entries(given).map(([name, value]): [string, unknown] => {
    const kind = Object.hasOwn(propertyKinds, name) ? propertyKinds[name as keyof typeof propertyKinds] : undefined;
    if (kind === undefined)
      return wrong(`there is no property ${JSON.stringify(name)}; there are ${Object.keys(propertyKinds).join(", ")}`);
    const isRight =
      kind === "base64"
        ? typeof value === "string" && base64.test(value)
        : kind === "pairs"
          ? isPairs(value)
          : typeOf(value) === kind;
    if (!isRight || (kind === "number" && !(Number.isInteger(value) && (value as number) <= 0xffff_ffff)))
      return wrong(`the property ${name} must be ${kindWords[kind]}`);
    return [name, kind === "base64" ? Buffer.from(value as string, "base64") : value];
  });
  return Object.fromEntries(read) as PublishProperties;
}

function typeOf(value: unknown): string {
  return typeof value;
}

const kindWords = {
  boolean: "true or false",
  number: "a whole number of up to 32 bits",
  string: "a text",
  base64: "base64",
  pairs: "names with a text, or a list of texts, each",
} as const;

function isPairs(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((one) => [one].flat().every((text) => typeof text === "string"));
}

function wrong(why: string): never {
  throw new OperatingError("EFORMAT", why);
}
