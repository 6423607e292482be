/** The bytes of stored messages, as `$SYS` tells them: those of their payloads, before and after a restart. */
import { expect, test } from "bun:test";
import { eventually, startBroker } from "../support/broker.ts";
import { RawClient } from "../support/raw-client.ts";

test("the payloads of what is stored are counted while it is there, also after a restart", async () => {
  let broker = await startBroker({ settleAfter: 0 });
  try {
    const bytes = (): number => broker.server.broker.context.bankAccount.account.payloadBytes;
    const away = { clientId: "away", clean: false };
    const sleeper = await RawClient.connect(broker.port, away);
    await sleeper.subscribe("t", { qos: 1 });
    sleeper.disconnect();
    await sleeper.untilClosed();
    const client = await RawClient.connect(broker.port);
    const say = async (topic: string, payload: string, retain = false): Promise<void> => {
      client.publish(topic, payload, { qos: 1, messageId: 1, retain });
      await client.take("puback");
    };
    await say("t", "x".repeat(100));
    await say("t", "");
    await say("kept", "x".repeat(20), true);
    await say("kept", "x".repeat(30), true);
    expect(bytes()).toBe(130);
    broker = await broker.restart();
    expect(bytes()).toBe(130);
    const back = await RawClient.connect(broker.port, away);
    for (const { messageId } of await back.takeMany("publish", 2)) back.send({ cmd: "puback", messageId });
    await eventually(() => bytes() === 30, "what the client has is not stored any more");
  } finally {
    await broker.stop();
  }
});
