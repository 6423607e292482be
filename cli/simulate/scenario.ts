/** A scenario: the devices of a simulation, as a YAML file describes them. Errors in it are named with their lines. */

import { messageOf } from "../../src/base/errors.ts";
import { systemRandom } from "../../src/base/random.ts";
import { checkText } from "../../src/client/checks.ts";
import type { QoS } from "../../src/mqtt/constants.ts";
import { isTopicName, parseFilter } from "../../src/mqtt/topic.ts";
import { codecOf, NotOfFormat, payloadFormats } from "../output/payload-formats.ts";
import { type Filling, parseTemplate, type Template, TemplateError } from "../pubsub/template.ts";
import { type DrawTime, durationOf, type MakeDraw, readTime, readValue, wholeOf } from "./values.ts";
import { type Nested, YamlFile, type YamlValue } from "./yaml-reader.ts";

/** Makes a payload for one message. */
export type MakePayload = (filling: Filling) => Uint8Array | string;

export interface PublishPlan {
  readonly topic: Template;
  readonly payload: MakePayload;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Undefined: once, when it is connected. */
  readonly every: DrawTime | undefined;
  /** Time until the first one; undefined: any part of `every`, so that devices do not go in step. */
  readonly first: DrawTime | undefined;
  /** Messages of each device, at most. */
  readonly limit: number;
  /** Message Expiry Interval in seconds. */
  readonly expiry: number | undefined;
}

export interface WillPlan extends Pick<PublishPlan, "topic" | "payload" | "qos" | "retain"> {
  /** Will Delay Interval in seconds. */
  readonly delay: number | undefined;
}

export interface SubscribePlan {
  readonly filter: Template;
  readonly qos: QoS;
}

/** Devices that are alike. */
export interface DeviceGroup {
  readonly name: string;
  readonly count: number;
  /** Milliseconds in which they come for the first time, one after the other. */
  readonly startMs: number;
  readonly clientId: Template;
  readonly username: Template | undefined;
  readonly password: Template | undefined;
  /** Seconds. */
  readonly keepAlive: number | undefined;
  /** Seconds for which sessions outlive connections; 0: they do not. */
  readonly sessionExpiry: number;
  /** How long a device stays; undefined: until the end. */
  readonly online: DrawTime | undefined;
  readonly away: DrawTime;
  /** The part of the leavings that are without a word, so that the will is published. */
  readonly drops: number;
  readonly will: WillPlan | undefined;
  readonly values: ReadonlyMap<string, MakeDraw>;
  readonly publish: readonly PublishPlan[];
  readonly subscribe: readonly SubscribePlan[];
}

export interface Scenario {
  readonly seed: number | undefined;
  /** Undefined: until it is interrupted. */
  readonly durationMs: number | undefined;
  readonly groups: readonly DeviceGroup[];
}

/** Devices of a scenario, at most. */
const devicesMax = 1_000_000;
/** Devices that come in a second where nothing is said. */
const startsPerSecond = 1000;
/** A device that has left stays away so long where nothing is said, in ms. */
const awayMsDefault = 1000;
/** Places that every text of a device has, besides its values. */
const places = ["device", "client"];

/** Reads a scenario. Rejects with `OperatingError` (EUSAGE) that names the line. */
export async function readScenario(path: string, text: string, qos: QoS): Promise<Scenario> {
  const { root } = new YamlFile(path, text);
  const members = root.members(["seed", "duration", "devices"]);
  const devices = members.get("devices") ?? root.refuse("there are no devices: say which after devices:");
  const groups = await Promise.all(devices.items().map((item) => readGroup(item, qos)));
  if (groups.length === 0) devices.refuse("there are no devices: say which, each behind a -");
  const names = new Set<string>();
  for (const [at, { name }] of groups.entries()) {
    if (names.has(name)) devices.items()[at]!.refuse(`there are devices named ${name} already`);
    names.add(name);
  }
  if (groups.reduce((sum, { count }) => sum + count, 0) > devicesMax)
    devices.refuse(`${devicesMax} devices are the most`);
  const seed = members.get("seed");
  const duration = members.get("duration");
  return {
    seed: seed && wholeOf(seed, 0, Number.MAX_SAFE_INTEGER),
    durationMs: duration && durationOf(duration),
    groups,
  };
}

const groupKeys = [
  ...["name", "count", "start", "client-id", "username", "password", "keep-alive", "session-expiry"],
  ...["online", "away", "drops", "will", "values", "publish", "subscribe"],
];

async function readGroup(given: YamlValue, qos: QoS): Promise<DeviceGroup> {
  const members = given.members(groupKeys);
  const one = <Value>(key: string, read: (value: YamlValue) => Value): Value | undefined => {
    const value = members.get(key);
    return value && read(value);
  };
  const name = one("name", textOf) ?? given.refuse("these devices have no name: say name: and one");
  const count = one("count", (value) => wholeOf(value, 1, devicesMax)) ?? 1;
  const values = new Map([...(one("values", (value) => value.allMembers()) ?? [])].map(readNamedValue));
  const names = [...places, ...values.keys()];
  const template = (value: YamlValue): Template => templateOf(value, names);
  const clientId = one("client-id", template) ?? parseTemplate(`${name}-{{device}}`, names);
  if (count > 1 && clientId(sample(1)) === clientId(sample(2)))
    (members.get("client-id") ?? given).refuse("each device needs a client id of its own: put {{device}} in it");
  const will = members.get("will");
  const lists = { publish: members.get("publish")?.items() ?? [], subscribe: members.get("subscribe")?.items() ?? [] };
  return {
    name,
    count,
    startMs: one("start", durationOf) ?? (1000 * count) / startsPerSecond,
    clientId,
    username: one("username", template),
    password: one("password", template),
    keepAlive: one("keep-alive", (value) => wholeOf(value, 0, 65_535)),
    sessionExpiry: one("session-expiry", secondsOf) ?? 0,
    online: one("online", readTime),
    away: one("away", readTime) ?? (() => awayMsDefault),
    drops: one("drops", partOf) ?? 0,
    will: will && (await readWill(will, names)),
    values,
    publish: await Promise.all(lists.publish.map((item) => readPublish(item, names, qos))),
    subscribe: lists.subscribe.map((item) => readSubscribe(item, names, qos)),
  };
}

function readNamedValue([name, value]: [string, YamlValue]): [string, MakeDraw] {
  if (!/^[A-Za-z_][\w-]*$/.test(name)) value.refuse(`${JSON.stringify(name)} is no name of a value: letters make one`);
  if (places.includes(name)) value.refuse(`{{${name}}} is there already`);
  return [name, readValue(value)];
}

async function readPublish(given: YamlValue, names: readonly string[], qos: QoS): Promise<PublishPlan> {
  const members = given.members([
    ...["topic", "payload", "json", "format", "qos", "retain"],
    ...["every", "on", "first", "limit", "expiry"],
  ]);
  const [every, on, first] = [members.get("every"), members.get("on"), members.get("first")];
  if (on !== undefined && on.text !== "connect") on.refuse("connect is all that on: may be");
  if ((every === undefined) === (on === undefined))
    given.refuse("either every: and a time, such as 5s, or on: connect is due");
  if (first !== undefined && every === undefined) first.refuse("first: belongs to every:");
  const limit = members.get("limit");
  const expiry = members.get("expiry");
  return {
    ...(await readMessage(given, members, names, qos)),
    every: every && readTime(every),
    first: first && readTime(first),
    limit: limit === undefined ? Infinity : wholeOf(limit, 1, Number.MAX_SAFE_INTEGER),
    expiry: expiry && secondsOf(expiry),
  };
}

async function readWill(given: YamlValue, names: readonly string[]): Promise<WillPlan> {
  const members = given.members(["topic", "payload", "json", "format", "qos", "retain", "delay"]);
  const delay = members.get("delay");
  return { ...(await readMessage(given, members, names, 0)), delay: delay && secondsOf(delay) };
}

/** Topic, payload, QoS and retain flag. */
async function readMessage(
  given: YamlValue,
  members: ReadonlyMap<string, YamlValue>,
  names: readonly string[],
  qos: QoS,
): Promise<Pick<PublishPlan, "topic" | "payload" | "qos" | "retain">> {
  const topic = members.get("topic") ?? given.refuse("there is no topic: say topic: and one");
  const makeTopic = templateOf(topic, names);
  const filled = makeTopic(sample(1));
  if (!isTopicName(filled))
    topic.refuse(`${JSON.stringify(filled)} is not a topic: it must not be empty nor hold + or #`);
  checkLength(topic, filled);
  return {
    topic: makeTopic,
    payload: await readPayload(given, members, names),
    qos: qosOf(members.get("qos"), qos),
    retain: flagOf(members.get("retain")),
  };
}

async function readPayload(
  given: YamlValue,
  members: ReadonlyMap<string, YamlValue>,
  names: readonly string[],
): Promise<MakePayload> {
  const [payload, json, format] = [members.get("payload"), members.get("json"), members.get("format")];
  if (payload !== undefined && json !== undefined) json.refuse("payload: and json: do not go together");
  const make = json === undefined ? textMaker(payload, names) : jsonMaker(json, names);
  if (format === undefined) return make;
  const name = payloadFormats.find((one) => one === format.text);
  if (name === undefined) return format.refuse(`one of these is due: ${payloadFormats.join(", ")}`);
  const codec = await codecOf(name);
  const encode: MakePayload = (filling) => codec.read(Buffer.from(make(filling) as string));
  try {
    encode(sample(1));
  } catch (error) {
    if (!(error instanceof NotOfFormat)) throw error;
    (json ?? payload ?? given).refuse(`of this no ${name} can be made: ${error.message}`);
  }
  return encode;
}

function textMaker(payload: YamlValue | undefined, names: readonly string[]): MakePayload {
  return payload === undefined ? () => "" : templateOf(payload, names);
}

/** A text within that is one place alone is a number, where it looks like one. */
function jsonMaker(json: YamlValue, names: readonly string[]): MakePayload {
  const leaves = json.map((value): Template => {
    const { scalar } = value;
    if (typeof scalar !== "string") return () => JSON.stringify(scalar ?? null);
    const template = templateOf(value, names);
    const isPlace = /^\{\{[^}]*\}\}$/.test(scalar.trim());
    return (filling) => {
      const text = template(filling);
      return isPlace && /^-?(0|[1-9]\d*)(\.\d+)?$/.test(text) ? text : JSON.stringify(text);
    };
  });
  return (filling) => jsonOf(leaves, filling);
}

function jsonOf(value: Nested<Template>, filling: Filling): string {
  if (typeof value === "function") return value(filling);
  if (Array.isArray(value)) return `[${value.map((item) => jsonOf(item, filling)).join(",")}]`;
  const members = Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}:${jsonOf(inner, filling)}`);
  return `{${members.join(",")}}`;
}

function readSubscribe(given: YamlValue, names: readonly string[], qos: QoS): SubscribePlan {
  const members = given.members(["topic", "qos"]);
  const topic = members.get("topic") ?? given.refuse("there is no topic: say topic: and a filter");
  const filter = templateOf(topic, names);
  const filled = filter(sample(1));
  if (parseFilter(filled) === undefined) topic.refuse(`${JSON.stringify(filled)} is not a topic filter`);
  checkLength(topic, filled);
  return { filter, qos: qosOf(members.get("qos"), qos) };
}

/** The filling of a device that is none, to look whether texts come out right. */
function sample(device: number): Filling {
  const named = (name: string): string => (name === "device" ? String(device) : name === "client" ? "client" : "0");
  return { count: 1, clock: { wall: () => 0 }, random: systemRandom, named };
}

function templateOf(value: YamlValue, names: readonly string[]): Template {
  try {
    return parseTemplate(textOf(value), names);
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return value.refuse(error.message);
  }
}

function textOf(value: YamlValue): string {
  const { scalar, text } = value;
  return typeof scalar === "string" ? scalar : (text ?? value.refuse("a text is due"));
}

function checkLength(value: YamlValue, text: string): void {
  try {
    checkText("it", text);
  } catch (error) {
    value.refuse(messageOf(error));
  }
}

function qosOf(value: YamlValue | undefined, otherwise: QoS): QoS {
  return value === undefined ? otherwise : (wholeOf(value, 0, 2) as QoS);
}

function flagOf(value: YamlValue | undefined): boolean {
  if (value === undefined) return false;
  return typeof value.scalar === "boolean" ? value.scalar : value.refuse("true or false is due");
}

function partOf(value: YamlValue): number {
  const [, percent] = /^(\d+(?:\.\d+)?)%$/.exec(value.text ?? "") ?? [];
  return percent !== undefined && Number(percent) <= 100
    ? Number(percent) / 100
    : value.refuse("a percentage is due, such as 10%");
}

function secondsOf(value: YamlValue): number {
  return Math.ceil(durationOf(value) / 1000);
}
