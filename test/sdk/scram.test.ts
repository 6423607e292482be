/** SCRAM of the client library: at our broker, and at a false one. */
import { afterAll, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashForScram } from "../../src/access/hashes.ts";
import { connect } from "../../src/client/for-bun.ts";
import { withBroker } from "../support/broker.ts";
import { ScriptedBroker } from "../support/scripted-broker.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-sdk-scram-"));
afterAll(() => rmSync(folder, { recursive: true }));
const soon = { reconnect: { minMs: 1, maxMs: 10 } } as const;
/** Both characters mean something in SCRAM. */
const username = "al,ice=";
const login = { auth: "SCRAM-SHA-256", username, password: "s3cret ä" } as const;

test("at our broker: the right password is let in, as its user; a wrong one, none, and MQTT 3.1.1 are not", async () => {
  const passwordFile = join(folder, "users");
  writeFileSync(passwordFile, `${username}:${await hashForScram(login.password)}\n`);
  await withBroker({ passwordFile }, async ({ port }) => {
    const url = `mqtt://127.0.0.1:${port}`;
    const client = await connect(url, login);
    expect(await client.publish("t", "x", { qos: 1 })).toBeDefined();
    await client.end();
    await expect(connect(url, { ...login, password: "wrong" })).rejects.toMatchObject({ name: "ConnectFailed" });
    const fromUrl = `mqtt://${encodeURIComponent(username)}:${encodeURIComponent(login.password)}@127.0.0.1:${port}`;
    await (await connect(fromUrl, { auth: "SCRAM-SHA-256" })).end();
    await expect(connect(url, { auth: "SCRAM-SHA-256" })).rejects.toThrow("auth needs a user name and a password");
    await expect(connect(url, { ...login, version: 4 })).rejects.toThrow("auth needs MQTT 5");
  });
});

test.each([
  ["a nonce that is not ours", () => "r=other,s=c2FsdA==,i=4096", "odd question"],
  ["too few iterations", (nonce: string) => `r=${nonce}x,s=c2FsdA==,i=1`, "1 iterations"],
  ["so many that it takes hours", (nonce: string) => `r=${nonce}x,s=c2FsdA==,i=999999999`, "iterations"],
  ["a proof of nothing", (nonce: string) => `r=${nonce}x,s=c2FsdA==,i=4096`, "has not proved"],
] as const)("a false broker, %s: nothing is sent to it", async (_, challengeOf, words) => {
  const broker = new ScriptedBroker();
  try {
    const connecting = connect(`mqtt://127.0.0.1:${broker.port}`, { ...login, ...soon }).catch((error) => error);
    const connection = await broker.next();
    const { properties, password, username: named } = await connection.take("connect");
    expect([password ?? "", named ?? ""]).toEqual(["", ""]);
    const first = properties.authenticationData.toString();
    expect(first).toStartWith("n,,n=al=2Cice=3D,r=");
    const challenge = Buffer.from(challengeOf(first.split("r=")[1]));
    const how = { authenticationMethod: "SCRAM-SHA-256" };
    connection.send({ cmd: "auth", reasonCode: 0x18, properties: { ...how, authenticationData: challenge } });
    if (words === "has not proved") {
      const answer = await connection.take("auth");
      expect(answer.reasonCode).toBe(0x18);
      const proof = Buffer.from(`v=${createHmac("sha256", "guess").digest("base64")}`);
      const said = { ...how, authenticationData: proof };
      connection.send({ cmd: "connack", reasonCode: 0, sessionPresent: false, properties: said });
    }
    const error = await connecting;
    expect([error.name, error.message.includes(words)]).toEqual(["ConnectFailed", true]);
    expect(connection.packets).toEqual([]);
  } finally {
    broker.stop();
  }
});
