/** The client's side of WebSocket: against our server's side, in whatever chunks; and answers that are none. */
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import fc from "fast-check";
import type { Transport, TransportEvents } from "../../src/net/transport.ts";
import { overWebSocket } from "../../src/net/websocket.ts";
import { type UpgradeOptions, upgradeToWebSocket } from "../../src/net/websocket-upgrade.ts";

interface Owner {
  readonly transport: Transport;
  readonly received: Uint8Array[];
  why: string | undefined;
}

function events(): TransportEvents<Owner> {
  return {
    opened: (transport) => ({ transport, received: [], why: undefined }),
    received: (owner, bytes) => void owner.received.push(bytes.slice()),
    drained() {},
    closed(owner, why) {
      owner.why = why ?? "closed";
    },
  };
}

/** A transport that keeps what is written and takes as much as it is told to. */
class Wire implements Transport {
  readonly remote = "10.0.0.1:5";
  readonly address = "10.0.0.1";
  readonly certificate = undefined;
  sent: Uint8Array[] = [];
  takes: () => number = () => Infinity;
  end: "open" | "closed" | "aborted" = "open";

  write(bytes: Uint8Array, start: number, end: number): number {
    const count = Math.min(end - start, this.takes());
    this.sent.push(bytes.slice(start, start + count));
    return count;
  }

  take(): Buffer {
    return Buffer.concat(this.sent.splice(0));
  }

  pause(): void {}
  resume(): void {}

  close(): void {
    this.end = "closed";
  }

  abort(): void {
    this.end = "aborted";
  }
}

const options: UpgradeOptions = {
  ...{ url: "ws://h/mqtt", host: "h", path: "/mqtt?a=1", headers: [["X-Key", "abc"]] },
  ...{ protocol: "mqtt", handshakeMs: 60_000 },
};

function dial(more: Partial<UpgradeOptions> = {}) {
  const wire = new Wire();
  const { events: over, opened } = upgradeToWebSocket(events(), { ...options, ...more });
  opened.catch(() => {});
  const end = over.opened(wire);
  return { wire, over, end, opened };
}

function agreementTo(request: string): string {
  const key = /Sec-WebSocket-Key: (\S+)/.exec(request)![1];
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n`;
}

function cut(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...new Set(cuts.map((at) => at % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...places].map((from, index) => bytes.slice(from, places[index] ?? bytes.length));
}

test("both sides hand over the same bytes, in whatever chunks, however little the kernel takes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ size: fc.integer({ min: 1, max: 80_000 }), isOurs: fc.boolean() }), { maxLength: 6 }),
      fc.array(fc.nat(200_000), { maxLength: 8 }),
      fc.array(fc.nat(40_000), { minLength: 4, maxLength: 8 }),
      async (messages, cuts, takes) => {
        const { wire, over, end, opened } = dial();
        let turn = 0;
        wire.takes = () => takes[turn++ % takes.length]! + (turn % 7 === 0 ? 1 : 0);
        const serverWire = new Wire();
        const server = overWebSocket(events(), { paths: ["/mqtt"], protocols: ["mqtt"] });
        const serverEnd = server.opened(serverWire);
        const pump = (): void => {
          for (;;) {
            over.drained(end);
            const there = wire.take();
            for (const chunk of cut(there, cuts)) if (chunk.length > 0) server.received(serverEnd, chunk);
            const back = serverWire.take();
            for (const chunk of cut(back, cuts)) if (chunk.length > 0) over.received(end, chunk);
            if (there.length + back.length === 0) return;
          }
        };
        for (let round = 0; round < 400 && serverWire.sent.length === 0; round++) pump();
        pump();
        const owner = await opened;
        const wanted: { ours: Buffer[]; theirs: Buffer[] } = { ours: [], theirs: [] };
        for (const [index, { size, isOurs }] of messages.entries()) {
          const bytes = Buffer.alloc(size, index + 1);
          const writer = isOurs ? owner.transport : serverEnd;
          for (let at = 0; at < size; pump()) at += writer.write(bytes, at, size);
          wanted[isOurs ? "ours" : "theirs"].push(bytes);
        }
        for (let round = 0; round < 40; round++) pump();
        expect(Buffer.compare(Buffer.concat(serverEnd.owner.received), Buffer.concat(wanted.ours))).toBe(0);
        expect(Buffer.compare(Buffer.concat(owner.received), Buffer.concat(wanted.theirs))).toBe(0);
      },
    ),
    { numRuns: 30 },
  );
});

test("the request, and pings answered once where the kernel takes nothing", async () => {
  const { wire, over, end, opened } = dial();
  const request = wire.take().toString();
  expect(request).toStartWith("GET /mqtt?a=1 HTTP/1.1\r\nHost: h\r\n");
  expect(request).toContain("\r\nX-Key: abc\r\n");
  expect(request).toEndWith("\r\n\r\n");
  over.received(end, Buffer.from(agreementTo(request)));
  const { transport } = await opened;
  wire.takes = () => 0;
  const bytes = Buffer.alloc(40_000, 1);
  expect(transport.write(bytes, 0, bytes.length)).toBe(32 * 1024);
  // What is kept is one frame, and no more is taken.
  expect(transport.write(bytes, 0, bytes.length)).toBe(0);
  for (let ping = 0; ping < 1000; ping++) over.received(end, Uint8Array.of(0x89, 1, ping & 255));
  expect(transport.write(bytes, 0, bytes.length)).toBe(0);
  wire.takes = () => Infinity;
  over.drained(end);
  const frames = wire.take();
  expect([frames[0], frames[1]! & 0x7f, frames.length]).toEqual([0x82, 126, 8 + 32 * 1024 + 7]);
  expect(frames.at(-7)).toBe(0x8a);
  // The last ping's, masked.
  expect(frames.at(-1)! ^ frames.at(-5)!).toBe(999 & 255);
});

test("leaving says so, after what was written", async () => {
  const { wire, over, end, opened } = dial();
  over.received(end, Buffer.from(agreementTo(wire.take().toString())));
  const { transport } = await opened;
  wire.takes = () => 3;
  transport.write(Buffer.from("hello"), 0, 5);
  transport.close();
  expect(wire.end).toBe("open");
  wire.takes = () => Infinity;
  over.drained(end);
  expect(wire.end).toBe("closed");
  const bytes = wire.take();
  expect([bytes[0], bytes[11]]).toEqual([0x82, 0x88]);
});

test.each([
  ["HTTP/1.1 404 Not Found\r\n\r\n", "it answers 404 Not Found; name its path with --ws-path"],
  ["HTTP/1.1 401 Unauthorized\r\n\r\n", "it answers 401 Unauthorized; it wants a login of HTTP: --ws-header"],
  ["HTTP/1.1 302 Found\r\nLocation: wss://other/mqtt\r\n\r\n", "it says that the broker is at wss://other/mqtt"],
  ["HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "its answer is not WebSocket's"],
  ["HTTP/1.1 200 OK\r\n\r\n", "it answers 200 OK"],
  ["HTTP/2 200\r\n\r\n", "its answer is not HTTP/1.1"],
  ["\x20\x02\x00\x00", "what answers does not speak HTTP"],
  [`HTTP/1.1 101 X\r\nX: ${"x".repeat(9000)}`, "its answer does not end"],
])("an answer that does not agree: %j", async (answer, why) => {
  const { wire, over, end, opened } = dial();
  over.received(end, Buffer.from(answer, "latin1"));
  expect(wire.end).toBe("aborted");
  over.closed(end, undefined);
  expect(opened).rejects.toThrow(`cannot connect to ws://h/mqtt: ${why}`);
});

test.each([
  ["Sec-WebSocket-Protocol: mqtt", "Sec-WebSocket-Protocol: amqp", 'it speaks "amqp", not mqtt'],
  ["Upgrade: WebSocket", "Upgrade: h2c", "its answer is not WebSocket's"],
  ["\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\n\r\n", "it speaks extensions that nobody has asked for"],
])("an answer that agrees to something else: %s", async (what, instead, why) => {
  const { wire, over, end, opened } = dial();
  over.received(end, Buffer.from(agreementTo(wire.take().toString()).replace(what, instead)));
  expect(wire.end).toBe("aborted");
  over.closed(end, undefined);
  expect(opened).rejects.toThrow(`cannot connect to ws://h/mqtt: ${why}`);
});

test.each([
  ["masked", Uint8Array.of(0x82, 0x80, 0, 0, 0, 0), "WebSocket: a server's frames must not be masked"],
  ["text", Uint8Array.of(0x81, 1, 65), "WebSocket: text, where MQTT sends binary frames"],
  ["a goodbye", Uint8Array.of(0x88, 2, 0x03, 0xe9), "the broker closed the connection (WebSocket 1001)"],
])("what a server may not send, and its goodbye: %s", async (_, bytes, why) => {
  const { wire, over, end, opened } = dial();
  over.received(end, Buffer.from(agreementTo(wire.take().toString())));
  const owner = await opened;
  over.received(end, bytes);
  await Promise.resolve();
  expect(wire.end).not.toBe("open");
  over.closed(end, undefined);
  expect(owner.why).toBe(why);
});

test("a server that does not answer is given up", async () => {
  const { wire, over, end, opened } = dial({ handshakeMs: 1 });
  await new Promise<void>((resolve) => {
    wire.abort = () => resolve();
  });
  over.closed(end, undefined);
  expect(opened).rejects.toThrow("cannot connect to ws://h/mqtt: it does not answer");
});
