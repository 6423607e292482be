/** The doctor's checks, one thing each. A check that throws `OperatingError` has found that it does not work. */
import { systemClock } from "../../src/base/clock.ts";
import { OperatingError } from "../../src/base/errors.ts";
import { Latencies } from "../../src/load/latencies.ts";
import { sessionNeverExpires } from "../../src/mqtt/constants.ts";
import { type Patient, textOf, type Visit } from "./patient.ts";

/** ok · note: good to know · warn: may hurt · fail: what MQTT or the operator promises is not so. */
export type Result = "ok" | "note" | "warn" | "fail";

export interface Finding {
  readonly result: Result;
  readonly found: string;
  readonly advice?: string;
}

export interface Check {
  readonly name: string;
  /** Only where MQTT 5 is spoken. */
  readonly needs5?: boolean;
  /** Advice for when it throws. */
  readonly advice: string;
  readonly look: (patient: Patient) => Promise<Finding>;
}

const versionNames = { 5: "5", 4: "3.1.1", 3: "3.1" } as const;
/** Round trips that are timed. */
const roundTrips = 200;
/** Messages whose order is looked at. */
const inOrder = 100;
/** How long what should not come is waited for; in ms. */
const silenceMs = 200;
/** Less than this part of the bank's capital is little. */
const littleCredit = 0.1;
const largeBytes = 1_000_000;

export const ok = (found: string): Finding => ({ result: "ok", found });
export const note = (found: string, advice?: string): Finding => ({ result: "note", found, ...(advice && { advice }) });
export const warn = (found: string, advice: string): Finding => ({ result: "warn", found, advice });
export const fail = (found: string, advice: string): Finding => ({ result: "fail", found, advice });

export const checks: readonly Check[] = [
  { name: "who may come in", advice: "look at its list of users", look: lookAtLogin },
  { name: "encryption", advice: "give --cafile", look: lookAtEncryption },
  { name: "broker", advice: "it shows no $SYS; nothing to be done", look: lookAtVersion },
  { name: "limits", needs5: true, advice: "look at its limits", look: lookAtLimits },
  { name: "QoS 0, 1, 2", advice: "a broker must deliver what it has acknowledged: look at its log", look: lookAtQos },
  { name: "order", advice: "messages of one publisher on one topic must not overtake each other", look: lookAtOrder },
  { name: "wildcards", advice: "look at its access list: it may forbid them", look: lookAtWildcards },
  { name: "retained", advice: "look whether it is told not to keep messages", look: lookAtRetained },
  { name: "shared subscriptions", needs5: true, advice: "work cannot be shared among clients", look: lookAtShared },
  { name: "sessions", advice: "clients that are away lose messages: look at its session expiry", look: lookAtSessions },
  { name: "last will", advice: "nobody hears of devices that vanish", look: lookAtWill },
  {
    name: "subscription identifiers",
    needs5: true,
    advice: "clients must find out by the topic",
    look: lookAtIdentifiers,
  },
  {
    name: "request and response",
    needs5: true,
    advice: "properties must be handed on as they came",
    look: lookAtProperties,
  },
  { name: "large messages", advice: "raise its largest packet, if you need them", look: lookAtLarge },
  { name: "latency", advice: "look at the network, and at the broker's load", look: lookAtLatency },
  { name: "bank", advice: "only MQTTZoo has one", look: lookAtBank },
];

/**
 * Finds the versions that a broker speaks; the best is spoken from then on. Rejects with `OperatingError` if it speaks
 * none.
 */
export async function lookAtVersions(patient: Patient): Promise<Finding> {
  const spoken: (3 | 4 | 5)[] = [];
  let failure: unknown;
  for (const version of [5, 4, 3] as const) {
    try {
      patient.version = version;
      // MQTT 3.1 has client ids of up to 23 characters.
      (await patient.visit()).leave();
      spoken.push(version);
    } catch (error) {
      failure ??= error;
    }
  }
  if (spoken.length === 0) throw failure;
  patient.version = spoken[0]!;
  const found = spoken.map((version) => versionNames[version]).join(", ");
  return spoken[0] === 5
    ? ok(found)
    : warn(found, "without MQTT 5 refusals have no reasons, messages no expiry: use a newer broker if you can");
}

async function lookAtLogin(patient: Patient): Promise<Finding> {
  if (patient.hasLogin) {
    const stranger = await patient.visit({ username: "doctor-nobody", password: "wrong" }).catch(() => undefined);
    return stranger === undefined
      ? ok("lets us in, and no stranger")
      : warn("lets in whoever comes, under any name", "give it a list of users");
  }
  await patient.visit();
  if (patient.isLocal) return note("anybody, without a name", "fine on this machine; elsewhere, a list of users");
  return warn("anybody, without a name", "give it a list of users: whoever reaches it reads and writes everything");
}

function lookAtEncryption({ isEncrypted, isLocal, hasLogin }: Patient): Promise<Finding> {
  if (isEncrypted) return Promise.resolve(ok("TLS"));
  if (isLocal) return Promise.resolve(note("none, on this machine"));
  const what = hasLogin ? "passwords and messages" : "messages";
  return Promise.resolve(warn("none", `${what} can be read on the way: use TLS (port 8883)`));
}

async function lookAtVersion(patient: Patient): Promise<Finding> {
  const version = (await lookAtSys(patient, "$SYS/broker/version")).get("version");
  return version === undefined ? note("it does not say what it is") : ok(version);
}

/** Reads the broker's `$SYS` topics, by their last level; empty where it says nothing or may not be asked. */
async function lookAtSys(patient: Patient, filter: string): Promise<Map<string, string>> {
  const visit = await patient.visit();
  const values = new Map<string, string>();
  try {
    await visit.subscribe(filter);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return values;
  }
  for (let message = await visit.nextIfAny("", silenceMs); message !== undefined; ) {
    values.set(message.topic.split("/").at(-1)!, textOf(message));
    message = await visit.nextIfAny("", silenceMs);
  }
  return values;
}

async function lookAtLimits(patient: Patient): Promise<Finding> {
  const { granted } = (await patient.visit({ sessionExpiryInterval: sessionNeverExpires })).connection;
  const limits = {
    "in flight": granted.receiveMaximum,
    packet: granted.maximumPacketSize && `${granted.maximumPacketSize} bytes`,
    QoS: granted.maximumQoS,
    aliases: granted.topicAliasMaximum,
    "keep alive": granted.serverKeepAlive && `${granted.serverKeepAlive} s`,
    session: granted.sessionExpiryInterval !== undefined && `${granted.sessionExpiryInterval} s`,
  };
  const found = Object.entries(limits).flatMap(([name, value]) => (value || value === 0 ? [`${name} ${value}`] : []));
  const missing = Object.entries({
    retained: granted.retainAvailable,
    wildcards: granted.wildcardSubscriptionAvailable,
    "shared subscriptions": granted.sharedSubscriptionAvailable,
  }).flatMap(([name, isThere]) => (isThere === false ? [name] : []));
  const text = found.length === 0 ? "none told" : found.join(", ");
  if (missing.length > 0)
    return warn(`${text}; no ${missing.join(", no ")}`, "do without, or change its configuration");
  return (granted.receiveMaximum ?? 65_535) < 10
    ? warn(text, "so few messages in flight make QoS 1 and 2 slow: raise its Receive Maximum")
    : ok(text);
}

async function lookAtQos(patient: Patient): Promise<Finding> {
  const [from, to] = [await patient.visit(), await patient.visit()];
  const found: string[] = [];
  for (const qos of [0, 1, 2] as const) {
    const topic = patient.topic(`qos${qos}`);
    const granted = await to.subscribe(topic, { qos });
    await from.publish(topic, `at ${qos}`, { qos });
    const message = await to.next(topic);
    found.push(`${qos}${message.qos === qos ? "" : ` as ${message.qos}`}`);
    if (granted < qos || message.qos < qos)
      return warn(found.join(", "), `QoS ${qos} is not delivered as such: look at its maximum QoS`);
    // At QoS 1 it might.
    if (qos === 2 && (await to.nextIfAny(topic, silenceMs)) !== undefined)
      return fail(found.join(", "), "a message of QoS 2 came twice: it breaks MQTT (4.3.3)");
  }
  return ok(`${found.join(", ")} delivered`);
}

async function lookAtOrder(patient: Patient): Promise<Finding> {
  const [from, to] = [await patient.visit(), await patient.visit()];
  const topic = patient.topic("order");
  await to.subscribe(topic, { qos: 1 });
  const window = Math.min(inOrder, from.connection.granted.receiveMaximum ?? inOrder);
  for (let sent = 0; sent < inOrder; ) {
    const together = Array.from({ length: Math.min(window, inOrder - sent) }, () => String(sent++));
    await Promise.all(together.map((text) => from.publish(topic, text, { qos: 1 })));
  }
  for (let at = 0; at < inOrder; at++) {
    const text = textOf(await to.next(topic));
    if (text !== String(at)) return fail(`message ${text} came as number ${at}`, "it breaks MQTT's order (4.6)");
  }
  return ok(`${inOrder} messages of QoS 1 in order`);
}

async function lookAtWildcards(patient: Patient): Promise<Finding> {
  const [from, to] = [await patient.visit(), await patient.visit()];
  await to.subscribe(patient.topic("wild/+/end"));
  await to.subscribe(patient.topic("rest/#"));
  for (const topic of ["wild/x/end", "rest/x/y"]) {
    await from.publish(patient.topic(topic), "");
    await to.next(patient.topic(topic));
  }
  return ok("+ and #");
}

async function lookAtRetained(patient: Patient): Promise<Finding> {
  const topic = patient.topic("retained");
  const from = await patient.visit();
  await from.publish(topic, "kept", { qos: 1, retain: true });
  const to = await patient.visit();
  await to.subscribe(topic, { qos: 1 });
  const message = await to.next(topic);
  await from.publish(topic, "", { qos: 1, retain: true });
  if (textOf(message) !== "kept" || !message.retain)
    return fail("it came without its flag", "it breaks MQTT (3.3.1.3)");
  const later = await patient.visit();
  await later.subscribe(topic);
  return (await later.nextIfAny(topic, silenceMs)) === undefined
    ? ok("kept, and cleared by an empty message")
    : fail("an empty message does not clear it", "it breaks MQTT (3.3.1.3)");
}

async function lookAtShared(patient: Patient): Promise<Finding> {
  const from = await patient.visit();
  const members = [await patient.visit(), await patient.visit()];
  const topic = patient.topic("shared");
  for (const member of members) await member.subscribe(`$share/doctor/${topic}`, { qos: 1 });
  const count = 20;
  for (let at = 0; at < count; at++) await from.publish(topic, String(at), { qos: 1 });
  const got = await Promise.all(members.map((member) => countOf(member, topic)));
  const total = got[0]! + got[1]!;
  if (total !== count) return fail(`${total} of ${count} messages came`, "each must come to one member (4.8.2)");
  return got.includes(0)
    ? note(`one of two members got all ${count}`, "fine, if it is meant to be so")
    : ok(`shared ${got[0]} to ${got[1]}`);
}

async function countOf(visit: Visit, topic: string): Promise<number> {
  let count = 0;
  while ((await visit.nextIfAny(topic, silenceMs)) !== undefined) count++;
  return count;
}

async function lookAtSessions(patient: Patient): Promise<Finding> {
  const topic = patient.topic("session");
  const clientId = `doctor-${patient.topic("s").split("/").at(-2)}`;
  const kept = { clientId, clean: false, sessionExpiryInterval: 60 };
  const from = await patient.visit();
  const before = await patient.visit(kept);
  await before.subscribe(topic, { qos: 1 });
  before.leave();
  await from.publish(topic, "while you were away", { qos: 1 });
  const after = await patient.visit(kept);
  try {
    if (!after.connection.sessionPresent) return warn("not kept", "clients that are away lose messages");
    await after.next(topic);
    return ok("kept, with what came meanwhile");
  } finally {
    // Nothing of it stays.
    after.leave();
    (await patient.visit({ clientId })).leave();
  }
}

async function lookAtWill(patient: Patient): Promise<Finding> {
  const topic = patient.topic("will");
  const to = await patient.visit();
  await to.subscribe(topic, { qos: 1 });
  const vanishing = await patient.visit({ will: { topic, payload: "gone", qos: 1, retain: false } });
  vanishing.connection.abort();
  await to.next(topic);
  return ok("published when a client vanishes");
}

async function lookAtIdentifiers(patient: Patient): Promise<Finding> {
  const [from, to] = [await patient.visit(), await patient.visit()];
  const topic = patient.topic("identifier");
  await to.subscribe(topic, { properties: { subscriptionIdentifier: 7 } });
  await from.publish(topic, "");
  const { properties } = await to.next(topic);
  return [properties?.subscriptionIdentifier].flat().includes(7)
    ? ok("told with each message")
    : fail("not told with the message", "it breaks MQTT (3.3.2.3.8), or should say that it has none");
}

async function lookAtProperties(patient: Patient): Promise<Finding> {
  const [from, to] = [await patient.visit(), await patient.visit()];
  const topic = patient.topic("request");
  await to.subscribe(topic);
  const correlationData = Buffer.from("7");
  const given = { responseTopic: `${topic}/answer`, correlationData, userProperties: { a: "b" } };
  await from.publish(topic, "", { properties: given });
  const { properties } = await to.next(topic);
  const isWhole =
    properties?.responseTopic === given.responseTopic &&
    correlationData.equals(properties.correlationData ?? Buffer.alloc(0)) &&
    properties.userProperties?.a === "b";
  return isWhole
    ? ok("response topic, correlation data, user properties")
    : fail("properties are lost", "it breaks MQTT");
}

async function lookAtLarge(patient: Patient): Promise<Finding> {
  const [from, to] = [await patient.visit(), await patient.visit()];
  const max = from.connection.granted.maximumPacketSize;
  if (max !== undefined && max < largeBytes + 1000)
    return note(`packets of up to ${max} bytes`, "raise its largest packet, if you need more");
  const topic = patient.topic("large");
  await to.subscribe(topic, { qos: 1 });
  await from.publish(topic, new Uint8Array(largeBytes), { qos: 1 });
  const { payload } = await to.next(topic);
  return payload.length === largeBytes
    ? ok("1 MB went through")
    : fail(`of ${largeBytes} bytes ${payload.length} came`, "messages are cut off");
}

async function lookAtLatency(patient: Patient): Promise<Finding> {
  const visit = await patient.visit();
  const topic = patient.topic("latency");
  await visit.subscribe(topic);
  const latencies = new Latencies();
  for (let at = 0; at < roundTrips; at++) {
    const startedAt = systemClock.now();
    await visit.publish(topic, "");
    await visit.next(topic);
    latencies.record(systemClock.now() - startedAt);
  }
  const [p50, p99] = [latencies.percentile(50), latencies.percentile(99)];
  const found = `there and back p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`;
  return p50 > 200 ? warn(found, "slow: look at the network, and at the broker's load") : ok(found);
}

async function lookAtBank(patient: Patient): Promise<Finding> {
  const values = await lookAtSys(patient, "$SYS/broker/bank/+");
  if (!values.has("capital")) return note("none that is shown: what is stored is not paid for");
  const credits = (name: string): number => Number(values.get(name));
  const capital = credits("capital");
  const free = credits("free") + credits("vault");
  const percent = Math.round((100 * free) / capital);
  const refused = values.get("refused") ?? "0";
  const found = `${percent}% of ${capital.toLocaleString("en")} credits free, ${refused} publishes refused`;
  return free < capital * littleCredit
    ? warn(found, "see mqttzoo bank statement --by topic, then bank deposit or mail drop")
    : ok(found);
}
