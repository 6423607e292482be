/** The doctor's checks over MQTT-SN, one thing each, with devices that the doctor plays itself. */
import { systemClock } from "../../src/base/clock.ts";
import { OperatingError } from "../../src/base/errors.ts";
import { systemRandom } from "../../src/base/random.ts";
import { connectSn, SnConnection, type SnConnectionOptions } from "../../src/client/sn-connection.ts";
import { Latencies } from "../../src/load/latencies.ts";
import { type Finding, fail, note, ok, warn } from "./checks.ts";
import { isLocal, textOf, type Visit, Visits } from "./patient.ts";

export interface SnCheck {
  readonly name: string;
  /** Advice for when it throws. */
  readonly advice: string;
  readonly look: (gateway: SnPatient) => Promise<Finding>;
}

/** How long what should not come is waited for; in ms. */
const silenceMs = 200;
const inOrder = 30;
const roundTrips = 100;
/** A payload that fits into a datagram on nearly every way, without being cut. */
const largeBytes = 1_200;
/** The Keep Alive of a device that vanishes, in seconds. */
const mortalSeconds = 1;

export const snChecks: readonly SnCheck[] = [
  { name: "gateway", advice: "devices that look for it do not find it", look: lookAtGateway },
  { name: "who may come in", advice: "look at its --sn-user, or --allow-anonymous", look: lookAtLogin },
  { name: "encryption", advice: "", look: lookAtEncryption },
  { name: "QoS 0, 1, 2", advice: "what is acknowledged must be delivered: look at its log", look: lookAtQos },
  { name: "order", advice: "messages of one device must not overtake each other", look: lookAtOrder },
  {
    name: "topics",
    advice: "devices with wildcards need REGISTER before the first PUBLISH (6.10)",
    look: lookAtTopics,
  },
  { name: "retained", advice: "look whether it is told not to keep messages", look: lookAtRetained },
  { name: "sleep", advice: "devices on batteries lose messages (6.14)", look: lookAtSleep },
  { name: "last will", advice: "nobody hears of devices that vanish (6.3)", look: lookAtWill },
  { name: "large messages", advice: "raise its --sn-mtu, if your network takes them", look: lookAtLarge },
  { name: "latency", advice: "look at the network, and at the broker's load", look: lookAtLatency },
];

/** The gateway that is looked at. */
export class SnPatient extends Visits<SnConnection> {
  readonly place: { readonly host: string; readonly port: number };

  constructor(place: SnPatient["place"], root: string) {
    super(root);
    this.place = place;
  }

  /** Connects as a device. Rejects with `OperatingError`. */
  visit(more: Partial<SnConnectionOptions> = {}): Promise<Visit<SnConnection>> {
    const clientId = `doctor-${systemRandom.hex(6)}`;
    return this.visitOver((onMessage) => connectSn({ ...this.place, clientId, ...more, onMessage }));
  }
}

async function lookAtGateway({ place }: SnPatient): Promise<Finding> {
  const stranger = await SnConnection.dial({ ...place, clientId: "" });
  try {
    return ok(`number ${await stranger.search()}`);
  } finally {
    stranger.close();
  }
}

async function lookAtLogin(gateway: SnPatient): Promise<Finding> {
  await gateway.visit();
  return note("anybody: MQTT-SN knows no passwords", "have an access list say what its --sn-user may do");
}

function lookAtEncryption({ place }: SnPatient): Promise<Finding> {
  if (isLocal(place.host)) return Promise.resolve(note("none, on this machine"));
  return Promise.resolve(warn("none", "let UDP in from networks that you trust, or put a DTLS terminator before it"));
}

async function lookAtQos(gateway: SnPatient): Promise<Finding> {
  const [from, to] = [await gateway.visit(), await gateway.visit()];
  const found: string[] = [];
  for (const qos of [0, 1, 2] as const) {
    const topic = gateway.topic(`qos${qos}`);
    await to.subscribe(topic, { qos });
    await from.publish(topic, `at ${qos}`, { qos });
    const message = await to.next(topic);
    found.push(`${qos}${message.qos === qos ? "" : ` as ${message.qos}`}`);
    if (message.qos < qos) return warn(found.join(", "), `QoS ${qos} is not delivered as such`);
    if (qos === 2 && (await to.nextIfAny(topic, silenceMs)) !== undefined)
      return fail(found.join(", "), "a message of QoS 2 came twice");
  }
  return ok(`${found.join(", ")} delivered`);
}

async function lookAtOrder(gateway: SnPatient): Promise<Finding> {
  const [from, to] = [await gateway.visit(), await gateway.visit()];
  const topic = gateway.topic("order");
  await to.subscribe(topic, { qos: 1 });
  for (let at = 0; at < inOrder; at++) await from.publish(topic, `${at}`, { qos: 1 });
  for (let at = 0; at < inOrder; at++) {
    const text = textOf(await to.next(topic));
    if (text !== `${at}`) return fail(`message ${text} came as number ${at}`, "it breaks MQTT's order");
  }
  return ok(`${inOrder} messages of QoS 1 in order`);
}

async function lookAtTopics(gateway: SnPatient): Promise<Finding> {
  const [from, to] = [await gateway.visit(), await gateway.visit()];
  await to.subscribe(gateway.topic("+/end"), { qos: 1 });
  await from.publish(gateway.topic("wild/end"), "x", { qos: 1 });
  await to.next(gateway.topic("wild/end"));
  // Nobody should use it: two characters are all that a short name has.
  const short = systemRandom.hex(1);
  await to.subscribe(short, { qos: 1 });
  await from.publish(short, "x", { qos: 1 });
  await to.next(short);
  return ok("by REGISTER, by wildcards, of two characters");
}

async function lookAtRetained(gateway: SnPatient): Promise<Finding> {
  const topic = gateway.topic("retained");
  const from = await gateway.visit();
  await from.publish(topic, "kept", { qos: 1, retain: true });
  const to = await gateway.visit();
  await to.subscribe(topic, { qos: 1 });
  const message = await to.next(topic);
  await from.publish(topic, "", { qos: 1, retain: true });
  return textOf(message) === "kept" && message.retain ? ok("kept") : fail("it came without its flag", "it breaks MQTT");
}

async function lookAtSleep(gateway: SnPatient): Promise<Finding> {
  const [from, sleeper] = [await gateway.visit(), await gateway.visit()];
  const topic = gateway.topic("sleep");
  await sleeper.subscribe(topic, { qos: 1 });
  await sleeper.connection.sleep(60);
  await from.publish(topic, "mail", { qos: 1 });
  if ((await sleeper.nextIfAny(topic, silenceMs)) !== undefined)
    return fail("a device that sleeps was sent a message", "its radio is off: the message is lost (6.14)");
  await sleeper.connection.ping();
  const message = await sleeper.nextIfAny(topic, silenceMs);
  return message === undefined
    ? fail("PINGRESP came before the mail", "the device sleeps again without it (6.14)")
    : ok("mail waits, and comes when the device wakes");
}

async function lookAtWill(gateway: SnPatient): Promise<Finding> {
  const topic = gateway.topic("will");
  const watcher = await gateway.visit();
  await watcher.subscribe(topic, { qos: 1 });
  const will = { topic, qos: 1 as const, retain: false, data: new TextEncoder().encode("gone") };
  const mortal = await gateway.visit({ will, keepAlive: mortalSeconds });
  mortal.connection.close();
  await watcher.next(topic);
  return ok(`published ${1.5 * mortalSeconds} s after a device with a Keep Alive of ${mortalSeconds} s has vanished`);
}

async function lookAtLarge(gateway: SnPatient): Promise<Finding> {
  const [from, to] = [await gateway.visit(), await gateway.visit()];
  const topic = gateway.topic("large");
  await to.subscribe(topic, { qos: 1 });
  await from.publish(topic, new Uint8Array(largeBytes), { qos: 1 });
  const message = await to.nextIfAny(topic, 10 * silenceMs);
  if (message?.payload.length === largeBytes) return ok(`${largeBytes} bytes`);
  return warn(`${largeBytes} bytes do not come through`, "raise its --sn-mtu, if your network takes them");
}

async function lookAtLatency(gateway: SnPatient): Promise<Finding> {
  const { connection } = await gateway.visit();
  const latencies = new Latencies();
  for (let count = 0; count < roundTrips; count++) {
    const startedAt = systemClock.now();
    await connection.publish("dr", "", { qos: 1 });
    latencies.record(systemClock.now() - startedAt);
  }
  const [half, most] = [latencies.percentile(50), latencies.percentile(99)];
  const found = `half of ${roundTrips} within ${half.toFixed(1)} ms, 99% within ${most.toFixed(1)} ms`;
  return most > 1_000 ? warn(found, "datagrams are lost: look at the network") : ok(found);
}

/** Rejects with `OperatingError` if nobody answers. */
export async function lookSn({ look, advice }: SnCheck, gateway: SnPatient): Promise<Finding> {
  try {
    return await look(gateway);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return { result: "fail", found: error.message, advice };
  }
}
