/**
 * Beside a bystander: strangers who connect by the hundred where each of them costs most, over TLS and with SCRAM, and
 * what is done with a mailbox that is nearly full. Nothing of it holds the event loop.
 */
import { afterAll, expect, test } from "bun:test";
import { join } from "node:path";
import { freePort } from "../bench/brokers.ts";
import { makeAuthority } from "../support/certificates.ts";
import { runExecutable } from "../support/process.ts";
import { connectPacket, RawClient } from "../support/raw-client.ts";
import { scramClient } from "../support/scram-client.ts";
import { BrokerOfFile, counting, encode, lasting, pagesOf, patienceMs, subscribe } from "../support/watched-broker.ts";

const authority = makeAuthority();
const { cert, key } = authority.issue("localhost");
const tlsPort = await freePort();
const users = join(authority.folder, "users");
await runExecutable(["passwd", users, "bob", "--scram"], { input: "bob-pw\n" });
afterAll(() => authority.remove());

const file = new BrokerOfFile(() => [
  ...["--tls-port", String(tlsPort), "--tls-cert", cert, "--tls-key", key],
  ...["--password-file", users, "--allow-anonymous", "--ban-after", "0", "--host", "127.0.0.1"],
]);
const { attack, five } = file;

/** Connects over TLS, sends CONNECT unless it is silent, and goes. Returns the first byte of the answer. */
async function comeOverTls(isSilent: boolean): Promise<number | undefined> {
  const answer = Promise.withResolvers<number | undefined>();
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: tlsPort,
    tls: { rejectUnauthorized: false },
    socket: {
      handshake(opened) {
        if (isSilent) answer.resolve(undefined);
        else opened.write(encode(connectPacket({ protocolVersion: 5 })));
      },
      data: (_, bytes) => answer.resolve(bytes[0]),
      close: () => answer.resolve(undefined),
      error: () => answer.resolve(undefined),
    },
  });
  const first = await answer.promise;
  socket.terminate();
  return first;
}

test(
  "CONNECT over TLS, by the hundred at once; handshakes that nothing follows, and what is none",
  () =>
    attack(async () => {
      let welcome = 0;
      for (const page of pagesOf(counting(600), 50)) {
        const answers = await Promise.all(page.map((at) => comeOverTls(at % 3 === 0)));
        welcome += answers.filter((first) => first === 0x20).length;
      }
      expect(welcome).toBe(400);
      for (const page of pagesOf(counting(300), 50)) {
        const strangers = await Promise.all(page.map(() => RawClient.dial(tlsPort, 5)));
        for (const stranger of strangers) stranger.write(Buffer.alloc(2000, 0x16));
        await Promise.all(strangers.map((stranger) => stranger.untilClosed()));
      }
    }),
  patienceMs,
);

/** Logs in by SCRAM as far as `end` says, and goes. Returns the reason code of CONNACK, if it has come to one. */
async function logIn(name: string, password: string, end: "proof" | "first"): Promise<number | undefined> {
  const scram = scramClient(name, password);
  const client = await RawClient.dial(file.broker.port, 5);
  const method = { authenticationMethod: "SCRAM-SHA-256" };
  client.send(
    connectPacket({ protocolVersion: 5, username: name, properties: { ...method, authenticationData: scram.first } }),
  );
  const { properties } = await client.take("auth");
  if (end === "first") {
    client.abort();
    return undefined;
  }
  const authenticationData = scram.final(properties.authenticationData);
  client.send({ cmd: "auth", reasonCode: 0x18, properties: { ...method, authenticationData } });
  const { reasonCode } = await client.take("connack");
  client.abort();
  return reasonCode;
}

test(
  "CONNECT with SCRAM, by the hundred at once: who knows the password, who does not, who is nobody, who says no more",
  () =>
    attack(async () => {
      for (const page of pagesOf(counting(400), 40)) {
        const codes = await Promise.all(
          page.map((at) => {
            if (at % 4 === 0) return logIn("bob", "bob-pw", "proof");
            if (at % 4 === 1) return logIn("bob", "wrong", "proof");
            return logIn(`nobody-${at}`, "x", at % 4 === 2 ? "proof" : "first");
          }),
        );
        expect(codes).toEqual(page.map((at) => [0, 0x87, 0x87, undefined][at % 4]));
      }
    }),
  patienceMs,
);

/** Has so many messages stored for a session that is away. */
async function fill(clientId: string, topic: string, count: number): Promise<void> {
  const sleeper = await five(lasting(clientId));
  await subscribe(sleeper, [`${topic}/#`], 1);
  sleeper.disconnect();
  // Before MQTT 5 there is no Receive Maximum.
  const publisher = await RawClient.connect(file.broker.port, { patience: patienceMs / 2 });
  const one = { cmd: "publish", payload: "x", qos: 1, dup: false, retain: false };
  const all = counting(count).map((at) => encode({ ...one, topic: `${topic}/${at % 7}`, messageId: at + 1 }));
  publisher.write(Buffer.concat(all));
  await publisher.takeMany("puback", count);
  publisher.abort();
}

test(
  "an audit and a statement of thousands of messages, by a tool beside the broker",
  async () => {
    await fill("audited", "few", 3000);
    const data = join(file.broker.folder, "data");
    await attack(async () => {
      const audited = await runExecutable(["bank", "audit", "--data", data]);
      expect([audited.code, audited.err]).toEqual([0, ""]);
      const { code, out } = await runExecutable(["bank", "statement", "--by", "topic", "--data", data]);
      expect(code).toBe(0);
      expect(out).toContain("few/0");
    });
  },
  patienceMs,
);

test(
  "a mailbox of 49,000 slips, which is listed whenever its client comes back, and by the operator",
  async () => {
    await fill("sleeper", "mail", 49_000);
    await attack(async () => {
      const properties = { sessionExpiryInterval: 1000, receiveMaximum: 10 };
      for (const _visit of counting(5)) {
        const back = await five({ ...lasting("sleeper"), properties });
        expect(back.connack.sessionPresent).toBe(true);
        await back.takeMany("publish", 10);
        back.abort();
      }
      const page = await fetch(`http://127.0.0.1:${file.broker.httpPort}/api/v1/clients/sleeper/mailbox`);
      expect(page.status).toBe(200);
      expect(await page.text()).toContain("mail/0");
    });
  },
  patienceMs,
);
