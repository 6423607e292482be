/** Properties that an application gives CONNECT and its will, and options that have another name here. */
import { expect, test } from "bun:test";
import { connect } from "../../src/client/for-bun.ts";
import { ScriptedBroker } from "../support/scripted-broker.ts";

test("user properties, and all that a will may have, stand in it", async () => {
  const userProperties = [
    ["a", "1"],
    ["a", "2"],
    ["b", "3"],
  ] as const;
  const will = {
    topic: "w",
    payload: "x",
    delayMs: 5000,
    expiryMs: 60_000,
    contentType: "t/x",
    isText: true,
    userProperties,
  };
  const broker = new ScriptedBroker();
  const connecting = connect(`mqtt://127.0.0.1:${broker.port}`, {
    userProperties,
    will: { ...will, responseTopic: "r", correlationData: new Uint8Array([1, 2]) },
  });
  const connection = await broker.next();
  const packet = await connection.admit();
  const told = { a: ["1", "2"], b: "3" };
  expect({ ...packet.properties.userProperties }).toEqual(told);
  expect({ ...packet.will.properties, userProperties: { ...packet.will.properties.userProperties } }).toEqual({
    ...{ willDelayInterval: 5, messageExpiryInterval: 60, contentType: "t/x", payloadFormatIndicator: true },
    ...{ responseTopic: "r", correlationData: Buffer.from([1, 2]), userProperties: told },
  });
  const client = await connecting;
  await expect(client.publish("t", "x", { properties: {} } as never)).rejects.toThrow(
    "here each has a name of its own",
  );
  expect(() => client.messages("t", { nl: true } as never)).toThrow("here it is called noLocal");
  await client.end();
  broker.stop();
});

test("names of before, in seconds, are taken as well, and the log is told once of each", async () => {
  const entries: string[] = [];
  const broker = new ScriptedBroker();
  const connecting = connect(`mqtt://127.0.0.1:${broker.port}`, {
    ...{ clientId: "c", sessionExpiry: 60, keepAlive: 20, connectTimeout: 5 },
    will: { topic: "w", payload: "x", delay: 5, expiry: 60 },
    onLog: ({ level, message }) => void (level === "warn" && entries.push(message)),
  });
  const connection = await broker.next();
  const packet = await connection.admit();
  expect([packet.keepalive, packet.properties.sessionExpiryInterval]).toEqual([20, 60]);
  expect(packet.will.properties).toMatchObject({ willDelayInterval: 5, messageExpiryInterval: 60 });
  await using client = await connecting;
  const messages = [{ topic: "t", payload: "x", expiry: 60 }];
  for (const _ of [1, 2]) await Promise.all([client.publish("t", "x", { expiry: 60 }), client.publishMany(messages)]);
  for (const _ of [1, 2, 3, 4]) {
    const { properties } = await connection.take("publish");
    expect(properties.messageExpiryInterval).toBeWithin(30, 61);
  }
  await expect(client.publish("t", "x", { expiry: 1, expiryMs: 1000 })).rejects.toThrow("the old name of expiryMs");
  expect(entries).toEqual(
    ["sessionExpiry", "keepAlive", "connectTimeout", "expiry", "delay"].map(
      (name) => `the option ${name}, in seconds, is called ${name}Ms now, in milliseconds`,
    ),
  );
  broker.stop();
});

test("times that the broker is told in seconds are not cut short", async () => {
  const broker = new ScriptedBroker();
  const will = { topic: "w", payload: "x", delayMs: 1, expiryMs: 1001 };
  const options = { clientId: "c", sessionExpiryMs: 1500, keepAliveMs: 20_001, will };
  const connecting = connect(`mqtt://127.0.0.1:${broker.port}`, options);
  const packet = await (await broker.next()).admit();
  expect([packet.keepalive, packet.properties.sessionExpiryInterval]).toEqual([21, 2]);
  expect(packet.will.properties).toMatchObject({ willDelayInterval: 1, messageExpiryInterval: 2 });
  await (await connecting).end();
  broker.stop();
});
