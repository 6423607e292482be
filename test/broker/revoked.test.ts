/** Access that was given and is not any more: changed passwords, withdrawn keys, rules that have changed meanwhile. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SignJWT } from "jose";
import { hashForScram, hashPassword } from "../../src/access/hashes.ts";
import { startBroker } from "../support/broker.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";
import { scramClient } from "../support/scram-client.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-revoked-"));
const secret = "0123456789abcdef0123456789abcdef";
let hashes: { alice: string; bob: string };

const write = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

beforeAll(async () => {
  hashes = { alice: await hashPassword("alice-pw"), bob: await hashForScram("bob-pw") };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const as = (username: string, options: AnyPacket = {}): AnyPacket => ({
  protocolVersion: 5,
  username,
  password: Buffer.from(`${username}-pw`),
  ...options,
});

test("whose password was changed, or whose token's key was withdrawn, is disconnected; others stay", async () => {
  const jwtKey = write("key2", secret);
  const passwordFile = write("users2", `alice:${hashes.alice}\nbob:${hashes.bob}\ncarol:${hashes.alice}\n`);
  const broker = await startBroker({ passwordFile, jwtKey });
  const alice = await RawClient.connect(broker.port, as("alice"));
  const carol = await RawClient.connect(broker.port, { ...as("carol"), password: Buffer.from("alice-pw") });
  const proof = scramClient("bob", "bob-pw");
  const method = { authenticationMethod: "SCRAM-SHA-256" };
  const bob = await RawClient.dial(broker.port, 5);
  bob.send(connectPacket({ protocolVersion: 5, properties: { ...method, authenticationData: proof.first } }));
  const { properties } = await bob.take("auth");
  const authenticationData = proof.final(properties.authenticationData);
  bob.send({ cmd: "auth", reasonCode: 0x18, properties: { ...method, authenticationData } });
  await bob.take("connack");
  const token = await new SignJWT({ sub: "dev" }).setProtectedHeader({ alg: "HS256" }).sign(Buffer.from(secret));
  const dev = await RawClient.connect(broker.port, {
    protocolVersion: 5,
    username: "dev",
    password: Buffer.from(token),
  });
  const [changed, changedToo] = await Promise.all([hashPassword("new"), hashForScram("new")]);
  write("users2", `alice:${changed}\nbob:${changedToo}\ncarol:${hashes.alice}\n`);
  broker.server.reload();
  for (const client of [alice, bob]) expect((await client.take("disconnect")).reasonCode).toBe(0x87);
  await Promise.all([carol.ping(), dev.ping()]);
  write("key2", `${secret}, another one`);
  broker.server.reload();
  expect((await dev.take("disconnect")).reasonCode).toBe(0x87);
  await carol.ping();
  await broker.stop();
});

test("what waits in memory for a client is asked for again when it is sent", async () => {
  const all = "user root\ntopic readwrite #\n";
  const passwordFile = write("users", `root:${hashes.alice}\nbob:${hashes.bob}\n`);
  const aclFile = write("acl4", `${all}user bob\ntopic read q/#\n`);
  const broker = await startBroker({ passwordFile, aclFile });
  const publisher = await RawClient.connect(broker.port, as("root", { password: Buffer.from("alice-pw") }));
  const bob = await RawClient.connect(broker.port, as("bob", { properties: { receiveMaximum: 1 } }));
  await bob.subscribe("q/#", { qos: 1 });
  for (const [index, topic] of ["q/sent", "q/secret", "q/open"].entries()) {
    publisher.publish(topic, topic, { qos: 1, messageId: index + 1 });
    await publisher.take("puback");
  }
  const { messageId } = await bob.take("publish");
  write("acl4", `${all}user bob\ntopic read q/#\ntopic deny q/secret\n`);
  broker.server.reload();
  bob.send({ cmd: "puback", messageId });
  expect((await bob.take("publish")).topic).toBe("q/open");
  expect(broker.server.broker.context.metrics.forbidden.receive).toBe(1);
  await broker.stop();
});
