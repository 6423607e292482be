/** Bans for good: by file and over HTTP, at the door and for who is connected, until they are lifted. */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashForScram } from "../../src/access/hashes.ts";
import { freePort } from "../bench/brokers.ts";
import { startBroker } from "../support/broker.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";

test("users, clients and addresses are banned and let in again; the file says who, and is followed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-bans-"));
  const [passwordFile, banFile, httpTokenFile] = ["users", "bans", "token"].map((name) => join(folder, name));
  const hash = await hashForScram("pw", { iterations: 1, salt: Buffer.from("salt") });
  writeFileSync(passwordFile!, `alice:${hash}\neve:${hash}\n`);
  writeFileSync(banFile!, "# nobody yet\n");
  writeFileSync(httpTokenFile!, "open sesame\n");
  const httpPort = await freePort();
  const files = { passwordFile: passwordFile!, banFile: banFile!, httpTokenFile: httpTokenFile! };
  const broker = await startBroker({ ...files, httpPort, httpHost: "127.0.0.1" });
  const ask = async (method: string, path: string): Promise<string> => {
    const headers = { authorization: "Bearer open sesame" };
    const response = await fetch(`http://127.0.0.1:${httpPort}/bans${path}`, { method, headers });
    return `${response.status} ${(await response.text()).trim()}`;
  };
  const as = (username: string, clientId: string): AnyPacket => ({
    ...{ protocolVersion: 5, username, password: Buffer.from("pw"), clientId },
  });
  const codeOf = async (username: string, clientId: string): Promise<number> => {
    const client = await RawClient.dial(broker.port, 5);
    client.send(connectPacket(as(username, clientId)));
    const { reasonCode } = await client.take("connack");
    client.abort();
    return reasonCode;
  };
  const eve = await RawClient.connect(broker.port, as("eve", "e1"));
  const alice = await RawClient.connect(broker.port, as("alice", "a/1"));
  expect(await ask("PUT", "/user/eve")).toBe("200 banned");
  expect((await eve.take("disconnect")).reasonCode).toBe(0x98);
  expect([await codeOf("eve", "e2"), await codeOf("alice", "a2")]).toEqual([0x8a, 0]);
  expect(await ask("PUT", "/client/a%2F1")).toBe("200 banned");
  expect((await alice.take("disconnect")).reasonCode).toBe(0x98);
  expect([await codeOf("alice", "a/1"), await codeOf("alice", "a2")]).toEqual([0x8a, 0]);
  expect(readFileSync(banFile!, "utf8")).toBe("# nobody yet\nuser eve\nclient a/1\n");
  expect(JSON.parse((await ask("GET", "")).slice(4))).toEqual([
    { user: "eve", seconds: null },
    { client: "a/1", seconds: null },
  ]);
  for (const path of ["/user/", "/user/a%0Auser%20alice", "/address/x", "/alice"])
    expect(await ask("PUT", path)).toStartWith("400 ");
  expect(
    [await ask("DELETE", "/user/eve"), await ask("DELETE", "/user/eve")].map((answer) => answer.slice(0, 3)),
  ).toEqual([...["200", "404"]]);
  expect(await codeOf("eve", "e2")).toBe(0);
  // What the operator writes himself, and what is no list.
  writeFileSync(banFile!, "address 127.0.0.0/8\n");
  broker.server.reload();
  expect(await codeOf("alice", "a2")).toBe(0x8a);
  writeFileSync(banFile!, "nobody\n");
  broker.server.reload();
  expect(await codeOf("alice", "a2")).toBe(0x8a);
  writeFileSync(banFile!, "");
  broker.server.reload();
  expect(await codeOf("alice", "a/1")).toBe(0);
  await broker.stop();
  writeFileSync(banFile!, "nobody\n");
  await expect(startBroker(files)).rejects.toThrow("line 1");
  rmSync(folder, { recursive: true });
});
