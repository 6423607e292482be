/**
 * Attacks that have brought other brokers down, by their public CVEs, against the executable: each ends as the standard
 * says, and a bystander is served before, beside and after it.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../bench/brokers.ts";
import { removeFolder } from "../support/folder.ts";
import { bytesOf, packetOf, sectionHex, textHex } from "../support/packet-bytes.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/process.ts";
import { type AnyPacket, RawClient } from "../support/raw-client.ts";
import { frame } from "../support/web-socket-frame.ts";

let broker: BrokerProcess;
let wsPort = 0;
let bystander: RawClient;
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-attacks-"));

beforeAll(async () => {
  wsPort = await freePort();
  broker = await startBrokerProcess(join(folder, "data"), { args: ["--ws-port", String(wsPort)] });
  bystander = await RawClient.connect(broker.port, { protocolVersion: 5 });
  await bystander.subscribe("#", { qos: 1 });
});

afterAll(async () => {
  // It ends in order: nothing of it was broken.
  bystander.disconnect();
  expect(await broker.kill("SIGTERM")).toBe(0);
  removeFolder(folder);
});

/** Memory of the broker that the kernel counts, in bytes. */
function memory(): number {
  const [, pages] = readFileSync(`/proc/${broker.pid}/statm`, "utf8").split(" ");
  return Number(pages) * 4096;
}

/** Attacks of many bytes may leave garbage, and no more than a small part of what they have sent. */
const leftBytesMax = 96 * 1024 * 1024;

const v5 = (options: AnyPacket = {}) => RawClient.connect(broker.port, { protocolVersion: 5, ...options });

/** Sends bytes as a client of MQTT 5; resolves with what the broker answers last, when it has closed the connection. */
async function closedAfter(...packets: readonly Uint8Array[]): Promise<AnyPacket | undefined> {
  const client = await v5();
  for (const packet of packets) client.write(packet);
  await client.untilClosed();
  return client.packets.at(-1);
}

const malformed = { cmd: "disconnect", reasonCode: 0x81 };
const protocolError = { cmd: "disconnect", reasonCode: 0x82 };

interface Attack {
  /** The number and the broker that had it, with how it went there. */
  readonly cve: string;
  readonly what: string;
  readonly run: () => Promise<unknown>;
  readonly outcome: unknown;
}

const attacks: readonly Attack[] = [
  {
    cve: "CVE-2018-12543, mosquitto: an assertion",
    what: "PUBLISH to a topic that begins with $ and is not $SYS",
    run: async () => {
      const client = await v5();
      client.publish("$other/topic", "x", { qos: 1, messageId: 1 });
      return client.take("puback");
    },
    outcome: { cmd: "puback", messageId: 1 },
  },
  {
    cve: "CVE-2019-11779, mosquitto: the stack overflows",
    what: "SUBSCRIBE to 65,400 levels",
    run: async () => (await (await v5()).subscribe("/".repeat(65_400))).granted,
    outcome: [0x8f],
  },
  {
    cve: "CVE-2021-28166, mosquitto: a null pointer",
    what: "CONNACK from a client",
    run: () => closedAfter(bytesOf("2003000000")),
    outcome: protocolError,
  },
  {
    cve: "CVE-2021-34432, mosquitto: crashes",
    what: "PUBLISH with a topic of no bytes, and no alias",
    run: () => closedAfter(packetOf(0x30, textHex(""), sectionHex(), "78")),
    outcome: protocolError,
  },
  {
    cve: "CVE-2017-7653, mosquitto: whoever is subscribed is disconnected",
    what: "PUBLISH with a topic that is no UTF-8",
    run: () => closedAfter(packetOf(0x30, "0002c080", sectionHex(), "78")),
    outcome: malformed,
  },
  {
    cve: "CVE-2021-41039, mosquitto: takes all of the processor",
    what: "CONNECT with as many user properties as fit",
    run: () => v5({ properties: { userProperties: { a: Array(35_000).fill("b") } } }).catch(String),
    outcome: expect.stringContaining('"reasonCode":151'),
  },
  {
    cve: "CVE-2023-0809, mosquitto: memory for what is no CONNECT; CVE-2021-33175, EMQX, and -33176, VerneMQ: as much",
    what: "first packets of 256 MB, on 200 connections",
    run: async () => {
      const clients = await Promise.all(Array.from({ length: 200 }, () => RawClient.dial(broker.port)));
      for (const [number, client] of clients.entries()) {
        client.write(bytesOf(number % 2 === 0 ? "30ffffff7f" : "10ffffff7f"));
        client.write(new Uint8Array(200_000));
      }
      await Promise.all(clients.map((client) => client.untilClosed()));
    },
    outcome: undefined,
  },
  {
    cve: "CVE-2023-28366, mosquitto: memory for messages whose exchange never ends",
    what: "30,000 publishes at QoS 2 without PUBREL",
    run: async () => {
      const client = await v5();
      for (let messageId = 1; messageId <= 30_000 && !client.closed; messageId++)
        client.publish("unfinished", "x".repeat(1000), { qos: 2, messageId });
      await client.untilClosed();
      return client.packets.at(-1);
    },
    outcome: { cmd: "disconnect", reasonCode: 0x93 },
  },
  {
    cve: "CVE-2019-11778, mosquitto: used after it was freed",
    what: "a will whose delay is longer than its session",
    run: async () => {
      const will = { topic: "will/late", payload: "w", qos: 1, properties: { willDelayInterval: 1000 } };
      (await v5({ will, properties: { sessionExpiryInterval: 1 } })).abort();
      for (;;) {
        const { topic } = await bystander.take("publish");
        if (topic === "will/late") return topic;
      }
    },
    outcome: "will/late",
  },
  {
    cve: "CVE-2024-8376, mosquitto: used after it was freed",
    what: "DISCONNECT with SUBSCRIBE, UNSUBSCRIBE and PUBLISH behind it, in one write",
    run: () =>
      closedAfter(
        Buffer.concat([
          packetOf(0xe0),
          packetOf(0x82, "0001", sectionHex(), textHex("$share/g/a"), "01"),
          packetOf(0xa2, "0002", sectionHex(), textHex("$share/g/a")),
          packetOf(0x30, textHex("after/disconnect"), sectionHex(), "78"),
        ]),
      ),
    outcome: undefined,
  },
  {
    cve: "mochi-mqtt, issue 501: an index that is not there",
    what: "SUBSCRIBE that ends before its options",
    run: () => closedAfter(packetOf(0x82, "0001", sectionHex(), textHex("a"))),
    outcome: malformed,
  },
  {
    cve: "CVE-2024-31036 and others, NanoMQ: reads beyond the packet",
    what: "PUBLISH whose properties are longer than it is",
    run: () => closedAfter(packetOf(0x30, textHex("a"), "ff7f", "2600ff61")),
    outcome: malformed,
  },
  {
    cve: "CVE-2026-25627, NanoMQ: reads beyond the frame",
    what: "a WebSocket frame with 3 bytes of a PUBLISH of 4,096, and the end",
    run: cutInFrame,
    outcome: "closed",
  },
];

/** Connects by WebSocket, sends the beginning of a PUBLISH, and closes. Resolves when the broker has closed, too. */
function cutInFrame(): Promise<string> {
  const connectBytes = packetOf(0x10, textHex("MQTT"), "0402003c", textHex("cut"));
  const socket = connect(wsPort, "127.0.0.1");
  socket.write(
    "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
  );
  socket.write(frame(connectBytes));
  socket.write(frame(bytesOf("308020000161")));
  socket.write(frame(new Uint8Array(0), { opcode: 8 }));
  socket.resume();
  return new Promise((resolve, reject) => {
    socket.on("close", () => resolve("closed"));
    socket.on("error", reject);
  });
}

test.each([...attacks])(
  "what has brought others down: $what ($cve)",
  async ({ cve, run, outcome }) => {
    const before = memory();
    const got = await run();
    if (outcome === undefined) expect(got).toBeUndefined();
    else if (typeof got === "object" && got !== null && !Array.isArray(got))
      expect(got).toMatchObject(outcome as object);
    else expect(got).toEqual(outcome);
    await bystander.ping();
    const other = await v5();
    other.publish("still/there", cve, { qos: 1, messageId: 1 });
    await other.take("puback");
    for (let topic = ""; topic !== "still/there"; ) {
      const packet = await bystander.take("publish");
      topic = packet.topic;
      expect(topic).not.toBe("after/disconnect");
      if (packet.qos > 0) bystander.send({ cmd: "puback", messageId: packet.messageId });
    }
    expect(memory() - before).toBeLessThan(leftBytesMax);
  },
  60_000,
);
