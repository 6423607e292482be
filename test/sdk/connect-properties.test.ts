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
  const will = { topic: "w", payload: "x", delay: 5, expiry: 60, contentType: "t/x", isText: true, userProperties };
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
