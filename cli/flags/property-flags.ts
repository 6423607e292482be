/** `-D COMMAND PROPERTY VALUE`: properties of MQTT 5 packets, by the names that mosquitto's clients use. */
import { OperatingError } from "../../src/base/errors.ts";

/** The packets that properties are for. */
const propertyCommands = ["connect", "publish", "subscribe", "unsubscribe", "disconnect", "will"] as const;
type Command = (typeof propertyCommands)[number];

type Kind = "number" | "flag" | "text" | "bytes" | "pair";

interface Rule {
  readonly kind: Kind;
  /** Where it may stand. */
  readonly commands: readonly Command[];
  readonly max?: number;
}

const rules: Record<string, Rule> = {
  "payload-format-indicator": { kind: "flag", commands: ["publish", "will"] },
  "message-expiry-interval": { kind: "number", commands: ["publish", "will"] },
  "content-type": { kind: "text", commands: ["publish", "will"] },
  "response-topic": { kind: "text", commands: ["publish", "will"] },
  "correlation-data": { kind: "bytes", commands: ["publish", "will"] },
  "subscription-identifier": { kind: "number", commands: ["subscribe"], max: 268_435_455 },
  "session-expiry-interval": { kind: "number", commands: ["connect", "disconnect"] },
  "authentication-method": { kind: "text", commands: ["connect"] },
  "authentication-data": { kind: "bytes", commands: ["connect"] },
  "request-problem-information": { kind: "flag", commands: ["connect"] },
  "request-response-information": { kind: "flag", commands: ["connect"] },
  "reason-string": { kind: "text", commands: ["disconnect"] },
  "will-delay-interval": { kind: "number", commands: ["will"] },
  "receive-maximum": { kind: "number", commands: ["connect"], max: 65_535 },
  "topic-alias-maximum": { kind: "number", commands: ["connect"], max: 65_535 },
  "topic-alias": { kind: "number", commands: ["publish"], max: 65_535 },
  "maximum-packet-size": { kind: "number", commands: ["connect"] },
  "user-property": { kind: "pair", commands: propertyCommands },
};

/** Properties by packet, under the names that mqtt-packet uses. */
export type GivenProperties = Partial<Record<Command, Record<string, unknown>>>;

/** Reads the words behind all `-D`, one after the other. Throws `OperatingError` that says what is wrong with which. */
export function readProperties(words: readonly string[]): GivenProperties {
  const given: GivenProperties = {};
  for (let at = 0; at < words.length; ) {
    const [command = "", name = ""] = words.slice(at);
    const wrong = (why: string): never => {
      throw new OperatingError("EUSAGE", `-D ${command} ${name}: ${why}`);
    };
    if (!isCommand(command)) return wrong(`properties are of ${propertyCommands.join(", ")}`);
    const rule = rules[name] ?? wrong(`known are ${Object.keys(rules).join(", ")}`);
    if (!rule.commands.includes(command)) return wrong(`it is a property of ${rule.commands.join(", ")}`);
    const count = rule.kind === "pair" ? 2 : 1;
    const values = words.slice(at + 2, at + 2 + count);
    if (values.length < count) return wrong(rule.kind === "pair" ? "it needs a name and a value" : "it needs a value");
    given[command] ??= {};
    // mqtt-packet's name for all of them.
    const key = rule.kind === "pair" ? "userProperties" : camelCase(name);
    put(given[command], key, values, rule, wrong);
    at += 2 + count;
  }
  return given;
}

function isCommand(word: string): word is Command {
  return (propertyCommands as readonly string[]).includes(word);
}

function put(
  to: Record<string, unknown>,
  key: string,
  [first = "", second = ""]: readonly string[],
  { kind, max = 0xffff_ffff }: Rule,
  wrong: (why: string) => never,
): void {
  if ([first, second].some((text) => Buffer.byteLength(text) > 65_535)) return wrong("65,535 bytes are the most");
  if (kind === "pair") {
    to[key] ??= {};
    const pairs = to[key] as Record<string, string | string[]>;
    const before = pairs[first];
    pairs[first] = before === undefined ? second : [before, second].flat();
    return;
  }
  if (to[key] !== undefined) return wrong("it is given twice");
  if (kind === "text") to[key] = first;
  else if (kind === "bytes") to[key] = Buffer.from(first);
  else {
    const value = /^\d+$/.test(first) ? Number(first) : Number.NaN;
    if (!(value <= (kind === "flag" ? 1 : max)))
      return wrong(`${JSON.stringify(first)} is no number up to ${kind === "flag" ? 1 : max}`);
    to[key] = kind === "flag" ? value === 1 : value;
  }
}

function camelCase(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
