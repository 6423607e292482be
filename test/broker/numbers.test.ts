/**
 * A mailbox whose slips have been numbered nearly as far as the store can count: it is made anew when it is empty, in
 * order, and takes no more before the store would give one number twice.
 */
import { expect, test } from "bun:test";
import mqttPacket from "mqtt-packet";
import { slipNumberMax, slipNumberOldMin } from "../../src/base/limits.ts";
import { silentLog } from "../../src/base/log.ts";
import { mailPath, sessionPath } from "../../src/coordinator/paths.ts";
import { SimulatedKeeper } from "../simulation/keeper.ts";
import { eventually } from "../support/broker.ts";
import { machine } from "../support/machine.ts";
import { type AnyPacket, connectPacket } from "../support/raw-client.ts";

type Machine = Awaited<ReturnType<typeof machine>>;

const scheduler = {
  now: () => performance.now(),
  after: (ms: number, run: () => void) => void setTimeout(run, Math.max(0, ms)).unref(),
};

/** Returns what connects a client of MQTT 5, which sends and sees packets one by one. */
function connector(dial: Machine["dial"], pass: Machine["pass"]) {
  return async (options: AnyPacket) => {
    const { state, send } = dial();
    const version = 5;
    const parser = mqttPacket.parser({ protocolVersion: version });
    const packets: AnyPacket[] = [];
    parser.on("packet", (packet) => packets.push(packet));
    const say = (packet: AnyPacket): void =>
      send(mqttPacket.generate(packet, { protocolVersion: version }).toString("hex"));
    const until = (found: () => boolean, what: string): Promise<void> =>
      eventually(
        () => {
          pass(10);
          parser.parse(Buffer.from(state.sent.splice(0)));
          return found();
        },
        what,
        60_000,
      );
    say(connectPacket({ protocolVersion: version, ...options }));
    await until(() => packets.length > 0, "CONNACK");
    const connack = packets[0];
    packets.length = 0;
    return { connack, packets, say, until };
  };
}

async function stage(mailboxFull: "end" | "refuse" = "end") {
  const keeper = new SimulatedKeeper({ scheduler, latency: () => 0, sessionTimeoutMs: 60_000 });
  const { dial, pass } = await machine(keeper.connect(), silentLog, { mailboxFull });
  const connect = connector(dial, pass);
  const keeps = { clientId: "away", clean: false, properties: { sessionExpiryInterval: 600 } };
  const first = await connect(keeps);
  first.say({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "q/#", qos: 1 }] });
  await first.until(() => first.packets.length === 1, "SUBACK");
  first.say({ cmd: "disconnect", reasonCode: 0 });
  const publisher = await connect({ clientId: "publisher" });
  let sent = 0;
  /** The reason code of its PUBACK. */
  const publish = async (): Promise<number> => {
    publisher.packets.length = 0;
    sent++;
    publisher.say({ cmd: "publish", topic: "q/x", payload: String(sent), qos: 1, messageId: sent });
    await publisher.until(() => publisher.packets.length === 1, "PUBACK");
    return publisher.packets[0].reasonCode ?? 0;
  };
  /** Takes and acknowledges so many messages. */
  const take = async (count: number): Promise<string[]> => {
    const back = await connect(keeps);
    const taken: string[] = [];
    await back.until(() => {
      for (const packet of back.packets.splice(0)) {
        if (packet.cmd !== "publish") continue;
        taken.push(String(packet.payload));
        back.say({ cmd: "puback", messageId: packet.messageId });
      }
      return taken.length >= count;
    }, `${count} messages`);
    back.say({ cmd: "disconnect", reasonCode: 0 });
    return taken;
  };
  const path = mailPath("away");
  const mailbox = () => keeper.tree.nodes.get(path);
  return {
    keeper,
    publish,
    said: () => publisher.packets[0],
    take,
    /** A client connects, and leaves with its will. */
    mortal: async () => {
      const will = { topic: "q/will", payload: Buffer.from("gone"), qos: 1, retain: false, properties: {} };
      const client = await connect({ clientId: "mortal", will });
      client.say({ cmd: "disconnect", reasonCode: 4 });
    },
    reconnect: async () => (await connect(keeps)).connack,
    pass,
    mailbox,
    names: () => [...(mailbox()?.children ?? [])].sort(),
  };
}

test("a mailbox that has counted far is made anew when it is empty", async () => {
  const { publish, take, pass, mailbox, names } = await stage();
  expect(await publish()).toBe(0);
  mailbox()!.sequence = slipNumberOldMin - 2;
  for (let index = 0; index < 4; index++) expect(await publish()).toBe(0);
  expect(names().at(-1)).toBe(String(slipNumberOldMin + 1));
  expect(await take(5)).toEqual(["1", "2", "3", "4", "5"]);
  await eventually(() => {
    pass(10);
    return mailbox() === undefined;
  }, "the mailbox is gone");
  for (let index = 0; index < 2; index++) expect(await publish()).toBe(0);
  expect(names()).toEqual(["0000000000", "0000000001"]);
  expect(await take(2)).toEqual(["6", "7"]);
}, 120_000);

test("a mailbox that was never empty ends its session before the store can count no further", async () => {
  const { keeper, publish, reconnect, pass, mailbox } = await stage();
  expect(await publish()).toBe(0);
  mailbox()!.sequence = slipNumberMax;
  await eventually(async () => {
    expect(await publish()).toBeLessThan(0x80);
    pass(10);
    return !keeper.tree.nodes.has(sessionPath("away"));
  }, "the session is gone");
  const connack = await reconnect();
  expect([connack.sessionPresent, connack.properties.reasonString]).toEqual([
    false,
    expect.stringContaining("its mailbox had used up its numbers"),
  ]);
}, 120_000);

test("a will goes into a mailbox that has used up its numbers, so that presence is true", async () => {
  const { publish, mortal, pass, mailbox, names } = await stage();
  expect(await publish()).toBe(0);
  mailbox()!.sequence = slipNumberMax;
  expect(await publish()).toBe(0);
  await mortal();
  await eventually(() => {
    pass(10);
    return names().length === 3;
  }, "the will waits there, too");
}, 120_000);

test("where a full mailbox refuses, one that was never empty does before the store can count no further", async () => {
  const { publish, said, take, pass, mailbox } = await stage("refuse");
  expect(await publish()).toBe(0);
  mailbox()!.sequence = slipNumberMax;
  expect(await publish()).toBe(0);
  expect(await publish()).toBe(0x97);
  expect(said().properties.reasonString).toContain("the mailbox of away has used up its numbers");
  expect(await take(2)).toEqual(["1", "2"]);
  await eventually(() => {
    pass(10);
    return mailbox() === undefined;
  }, "the mailbox is gone");
  let text = 3;
  await eventually(async () => {
    text++;
    return (await publish()) === 0;
  }, "the mailbox takes more");
  expect(await take(1)).toEqual([String(text)]);
}, 120_000);
