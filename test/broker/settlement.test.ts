/** Settlement step by step: with a store that answers when the test says so, and time that the test moves. */
import { expect, test } from "bun:test";
import { CoordinatorError } from "../../src/coordinator/coordinator.ts";
import { instantCoordinator } from "../support/instant-coordinator.ts";
import { machine } from "../support/machine.ts";

/** CONNECT of MQTT 3.1.1 without clean session, client id "s"; SUBSCRIBE to "t" at QoS 2. */
const connectDurable = "100d 0004 4d515454 04 00 0000 0001 73";
const connectPublisher = "100d 0004 4d515454 04 02 0000 0001 70";
const subscribe = "8206 0001 0001 74 02";
const publishQoS1 = "3206 0001 74 0001 61";
const publishQoS2 = "3406 0001 74 0002 62";

async function scene() {
  const coordinator = instantCoordinator();
  const { broker, dial, pass } = await machine(coordinator);
  const subscriber = dial();
  subscriber.send(connectDurable);
  subscriber.send(subscribe);
  const publisher = dial();
  publisher.send(connectPublisher);
  await Promise.resolve();
  subscriber.state.sent.length = publisher.state.sent.length = 0;
  coordinator.answers = false;
  const hex = (peer: typeof subscriber): string => Buffer.from(peer.state.sent.splice(0)).toString("hex");
  return { broker, dial, coordinator, pass, subscriber, publisher, hex };
}

test("the publisher is acknowledged when the subscriber acknowledges, and the store is not asked", async () => {
  const { subscriber, publisher, hex } = await scene();
  publisher.send(publishQoS1);
  await Promise.resolve();
  expect(hex(subscriber)).toBe("3206000174000161");
  expect(hex(publisher)).toBe("");
  subscriber.send("4002 0001");
  await Promise.resolve();
  expect(hex(publisher)).toBe("40020001");
});

test("without an acknowledgement in time it waits for the commit, and not for the subscriber", async () => {
  const { coordinator, pass, publisher, hex } = await scene();
  publisher.send(publishQoS1);
  pass(100);
  await Promise.resolve();
  expect(hex(publisher)).toBe("");
  coordinator.release();
  await Promise.resolve();
  expect(hex(publisher)).toBe("40020001");
});

test("a packet id is not given anew while a slip that names it is on its way into the store", async () => {
  const { broker, dial, coordinator, pass, subscriber, publisher, hex } = await scene();
  publisher.send(publishQoS1);
  pass(100);
  // Acknowledged while its slip is being committed: a crash now would leave the slip with packet id 1.
  subscriber.send("4002 0001");
  await Promise.resolve();
  hex(subscriber);
  // Ids are given in turn: the first after the highest shows whether 1 is thought to be free.
  const another = dial();
  another.send("100d 0004 4d515454 04 02 0000 0001 71");
  await Promise.resolve();
  hex(subscriber);
  let before = 0;
  let id = 1;
  while (id > before) {
    before = id;
    another.send(publishQoS1);
    id = Number.parseInt(hex(subscriber).slice(-6, -2), 16);
    subscriber.send(`4002 ${id.toString(16).padStart(4, "0")}`);
  }
  expect([before > 65_000, id]).toEqual([true, 2]);
  // Now the slip is on its way out again, and id 1 free with it.
  coordinator.release();
  expect(broker.context.localSessions.get("s")!.inflight.get(1)).toBeUndefined();
});

test("QoS 2 is committed before it is sent, and released before PUBREL", async () => {
  const { coordinator, subscriber, publisher, hex } = await scene();
  publisher.send(publishQoS2);
  await Promise.resolve();
  expect([hex(subscriber), hex(publisher)]).toEqual(["", ""]);
  coordinator.release();
  await Promise.resolve();
  expect([hex(subscriber), hex(publisher)]).toEqual(["3406000174000162", "50020002"]);
  subscriber.send("5002 0001");
  await Promise.resolve();
  expect(hex(subscriber)).toBe("");
  coordinator.release();
  await Promise.resolve();
  expect(hex(subscriber)).toBe("62020001");
});

test("a will that the store refuses, since another broker has removed it, does not keep its client out", async () => {
  const coordinator = instantCoordinator();
  const { write } = coordinator;
  coordinator.write = function (operations, done, repair) {
    const index = operations.findIndex(({ kind, path }) => kind === "delete" && path.startsWith("/wills/"));
    if (index === -1) return write.call(this, operations, done, repair);
    const error = new CoordinatorError("NoNode", operations[index]!.path, index);
    if (repair?.(error) === undefined) done(error, undefined, 0);
  };
  const { broker, dial } = await machine(coordinator);
  // MQTT 3.1.1, clean session, with a will at QoS 1 on "t".
  const connectWithWill = "1013 0004 4d515454 04 0e 0000 0001 64 0001 74 0001 78";
  const lost = dial();
  lost.send(connectWithWill);
  await Promise.resolve();
  expect(Buffer.from(lost.state.sent).toString("hex")).toBe("20020000");
  broker.handle({ kind: "closed", connection: lost.connection, why: "reset" });
  await Promise.resolve();
  const back = dial();
  back.send(connectWithWill);
  await Promise.resolve();
  expect(Buffer.from(back.state.sent).toString("hex")).toBe("20020000");
});

test("QoS 2 whose time ends while the store is asked is not sent, and its packet id is free", async () => {
  const { coordinator, dial, pass, subscriber, hex, broker } = await scene();
  const publisher = dial();
  // MQTT 5, client id "v"; PUBLISH at QoS 2 on "t" with a Message Expiry Interval of one second.
  publisher.send("100e 0004 4d515454 05 02 0000 00 0001 76");
  publisher.send("340c 0001 74 0003 05 02 00000001 62");
  await Promise.resolve();
  pass(2000);
  coordinator.answers = true;
  coordinator.release();
  await Promise.resolve();
  expect(hex(subscriber)).toBe("");
  const client = broker.context.localSessions.get("s")!;
  expect(client.inflight.size).toBe(0);
});
