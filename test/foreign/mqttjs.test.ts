/** MQTT.js (npm), the client of most browsers and Node programs. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import { startBroker, type TestBroker } from "../support/broker.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

function connect(options: IClientOptions): Promise<MqttClient> {
  return mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port}`, { reconnectPeriod: 0, ...options });
}

test.each([4, 5] as const)("version %i: every QoS, two hundred messages each, in order", async (protocolVersion) => {
  const subscriber = await connect({ protocolVersion });
  const publisher = await connect({ protocolVersion });
  const seen: string[] = [];
  const all = Promise.withResolvers<void>();
  subscriber.on("message", (_, payload) => {
    seen.push(payload.toString());
    if (seen.length === 600) all.resolve();
  });
  await subscriber.subscribeAsync(`js/${protocolVersion}/#`, { qos: 2 });
  for (const qos of [0, 1, 2] as const) {
    await Promise.all(
      Array.from({ length: 200 }, (_, index) =>
        publisher.publishAsync(`js/${protocolVersion}/${qos}`, `${qos} ${index}`, { qos }),
      ),
    );
  }
  await all.promise;
  for (const qos of [0, 1, 2]) {
    expect(seen.filter((text) => text.startsWith(`${qos} `))).toEqual(
      Array.from({ length: 200 }, (_, index) => `${qos} ${index}`),
    );
  }
  await Promise.all([subscriber.endAsync(), publisher.endAsync()]);
});

test("request and response with correlation data", async () => {
  const responder = await connect({ protocolVersion: 5 });
  responder.on("message", (_, payload, { properties }) => {
    responder.publish(properties!.responseTopic!, `re: ${payload}`, {
      properties: { correlationData: properties!.correlationData! },
    });
  });
  await responder.subscribeAsync("ask");
  const asker = await connect({ protocolVersion: 5 });
  const answered = Promise.withResolvers<string>();
  asker.on("message", (_, payload, { properties }) => answered.resolve(`${properties!.correlationData} ${payload}`));
  await asker.subscribeAsync("answers/1");
  asker.publish("ask", "what?", { properties: { responseTopic: "answers/1", correlationData: Buffer.from("id") } });
  expect(await answered.promise).toBe("id re: what?");
  await Promise.all([responder.endAsync(), asker.endAsync()]);
});

test("a persistent session across connections", async () => {
  const options: IClientOptions = {
    clientId: "js-keeper",
    clean: false,
    protocolVersion: 5,
    properties: { sessionExpiryInterval: 100 },
  };
  const first = await connect(options);
  await first.subscribeAsync("js/keep", { qos: 1 });
  await first.endAsync();
  const publisher = await connect({});
  await publisher.publishAsync("js/keep", "kept", { qos: 1 });
  const got = Promise.withResolvers<string>();
  const second = mqtt.connect(`mqtt://127.0.0.1:${broker.port}`, { reconnectPeriod: 0, ...options });
  second.on("message", (_, payload) => got.resolve(payload.toString()));
  expect(await got.promise).toBe("kept");
  await Promise.all([second.endAsync(), publisher.endAsync()]);
});
