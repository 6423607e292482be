/** WebSocket's frames and the PROXY header: whatever chunks they come in, and what must be refused. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { AddressRanges, canonicalAddress, checkRange } from "../../src/base/ip-address.ts";
import { behindProxy, readProxyHeader } from "../../src/net/proxy-protocol.ts";
import type { Transport, TransportEvents } from "../../src/net/transport.ts";
import { overWebSocket, type WebSocketEnd } from "../../src/net/websocket.ts";
import { frame } from "../support/web-socket-frame.ts";

/** A transport that keeps what is written and takes as much as it is told to. */
class FakeTransport implements Transport {
  readonly remote = "10.0.0.1:5";
  readonly address = "10.0.0.1";
  readonly certificate = undefined;
  readonly written: number[] = [];
  takes: () => number = () => Infinity;
  isClosed = false;

  write(bytes: Uint8Array, start: number, end: number): number {
    const count = Math.min(end - start, this.takes());
    this.written.push(...bytes.subarray(start, start + count));
    return count;
  }

  pause(): void {}
  resume(): void {}

  close(): void {
    this.isClosed = true;
  }

  abort(): void {
    this.isClosed = true;
  }
}

interface Owner {
  readonly transport: Transport;
  readonly received: number[];
}

const events: TransportEvents<Owner> = {
  opened: (transport) => ({ transport, received: [] }),
  received: (owner, bytes) => void owner.received.push(...bytes),
  drained() {},
  closed() {},
};

const options = { paths: ["/mqtt"], protocols: ["mqtt"] };
const request =
  "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: x, mqtt\r\n\r\n";

function open(to = events): { inner: FakeTransport; end: WebSocketEnd<Owner>; hear: (bytes: Uint8Array) => void } {
  const inner = new FakeTransport();
  const over = overWebSocket(to, options);
  const end = over.opened(inner);
  return { inner, end, hear: (bytes) => over.received(end, bytes) };
}

function chunks(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...places].map((from, index) => bytes.slice(from, places[index] ?? bytes.length));
}

test("an upgrade as RFC 6455 1.3 has it, and those that are none [MQTT-6.0.0-4]", () => {
  const { inner, hear } = open();
  hear(Buffer.from(request));
  const answer = Buffer.from(inner.written).toString();
  expect(answer).toStartWith("HTTP/1.1 101 ");
  expect(answer).toContain("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
  expect(answer).toContain("Sec-WebSocket-Protocol: mqtt\r\n");
  const refused: readonly [string, string, string][] = [
    ["/mqtt", "/else", "404"],
    ["GET", "POST", "405"],
    ["HTTP/1.1", "HTTP/1.0", "400"],
    ["Upgrade: websocket", "Upgrade: h2c", "426"],
    ["Version: 13", "Version: 8", "426"],
    ["x, mqtt", "x, amqp", "400"],
    ["dGhlIHNhbXBsZSBub25jZQ==", "short", "400"],
    ["Host: h", "Host", "400"],
    ["Host: h", `Host: ${"h".repeat(10_000)}`, "431"],
  ];
  for (const [what, instead, status] of refused) {
    const { inner, end, hear } = open();
    for (const byte of chunks(Buffer.from(request.replace(what, instead)).subarray(0, 9000), [300])) hear(byte);
    expect(Buffer.from(inner.written).toString()).toStartWith(`HTTP/1.1 ${status} `);
    expect(inner.isClosed).toBe(true);
    expect(end.error).toContain("no upgrade");
  }
});

const payloads = fc.array(
  fc.record({
    bytes: fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(new Uint8Array(70_000).fill(7))),
    fragments: fc.integer({ min: 1, max: 3 }),
    ping: fc.boolean(),
    mask: fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 4, maxLength: 4 }),
  }),
  { minLength: 1, maxLength: 6 },
);

/**
 * RFC 6455 5.5.3: who has not answered earlier pings yet may answer the last one alone. So one answer a chunk, whatever
 * a client pays for it: it may send 40,000 of them in one.
 */
test("frames in any chunks are one stream of bytes; the last ping of each is answered [MQTT-6.0.0-2]", () => {
  fc.assert(
    fc.property(payloads, fc.array(fc.nat(200_000), { maxLength: 12 }), (messages, cuts) => {
      const stream: Uint8Array[] = [Buffer.from(request)];
      let length = request.length;
      const pings: { readonly end: number; readonly part: number }[] = [];
      for (const { bytes, fragments, ping, mask } of messages) {
        const size = Math.ceil(bytes.length / fragments);
        for (let part = 0; part < fragments; part++) {
          const piece = bytes.subarray(part * size, (part + 1) * size);
          stream.push(frame(piece, { opcode: part === 0 ? 2 : 0, final: part === fragments - 1, mask }));
          length += stream.at(-1)!.length;
          if (!ping) continue;
          stream.push(frame(Uint8Array.of(part), { opcode: 9, mask }));
          length += stream.at(-1)!.length;
          pings.push({ end: length, part });
        }
      }
      const received: Buffer[] = [];
      const { inner, hear } = open({ ...events, received: (_, bytes) => void received.push(Buffer.from(bytes)) });
      const wanted: number[] = [];
      let heard = 0;
      for (const chunk of chunks(Buffer.concat(stream), cuts)) {
        hear(chunk);
        const last = pings.findLast((ping) => ping.end > heard && ping.end <= heard + chunk.length);
        if (last !== undefined) wanted.push(last.part);
        heard += chunk.length;
      }
      expect(Buffer.concat(received).equals(Buffer.concat(messages.map(({ bytes }) => bytes)))).toBe(true);
      const answer = Buffer.from(inner.written);
      const pongs = answer.subarray(answer.indexOf("\r\n\r\n") + 4);
      expect([...pongs]).toEqual(wanted.flatMap((part) => [0x8a, 1, part]));
    }),
    { numRuns: 300 },
  );
});

test("a ping is answered before what its chunk's data is answered with; one of which half has come, with its rest", () => {
  const { inner, hear } = open({ ...events, received: ({ transport }, bytes) => void transport.write(bytes, 0, 1) });
  hear(Buffer.from(request));
  inner.written.length = 0;
  const [data, first, second] = [frame(Uint8Array.of(7)), ...[1, 2].map((byte) => ping(byte, byte))] as const;
  hear(Buffer.concat([data, first!, second!.subarray(0, 7)]));
  expect(inner.written).toEqual([0x8a, 1, 1, 0x82, 1, 7]);
  hear(Buffer.concat([second!.subarray(7), data]));
  expect(inner.written.slice(6)).toEqual([0x8a, 2, 2, 2, 0x82, 1, 7]);
  // Without a payload, and the longest, both of the same parser.
  hear(Buffer.concat([frame(new Uint8Array(125).fill(5), { opcode: 9 }), frame(new Uint8Array(0), { opcode: 9 })]));
  hear(frame(new Uint8Array(125).fill(5), { opcode: 9 }));
  expect(inner.written.slice(13)).toEqual([0x8a, 0, 0x8a, 125, ...new Uint8Array(125).fill(5)]);
});

function ping(byte: number, count: number): Uint8Array {
  return frame(new Uint8Array(count).fill(byte), { opcode: 9 });
}

test("what is written comes out whole, however little the kernel takes", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 80_000 }), { minLength: 1, maxLength: 5 }),
      fc.array(fc.nat(40_000), { minLength: 4 }),
      (sizes, takes) => {
        const { inner, end, hear } = open();
        hear(Buffer.from(request));
        inner.written.length = 0;
        let turn = 0;
        inner.takes = () => takes[turn++ % takes.length]! + (turn % 7 === 0 ? 1 : 0);
        const sent: Buffer[] = [];
        for (const [index, size] of sizes.entries()) {
          const bytes = Buffer.alloc(size, index + 1);
          sent.push(bytes);
          for (let at = 0; at < size; ) at += end.write(bytes, at, size);
          if (index === 0) hear(frame(Uint8Array.of(9), { opcode: 9 }));
        }
        inner.takes = () => Infinity;
        end.drained();
        const { payload, pongs } = unframe(Buffer.from(inner.written));
        expect(Buffer.compare(payload, Buffer.concat(sent))).toBe(0);
        expect(pongs).toBe(1);
      },
    ),
    { numRuns: 300 },
  );
});

/** A server's frames. */
function unframe(bytes: Buffer): { payload: Buffer; pongs: number } {
  const parts: Buffer[] = [];
  let pongs = 0;
  for (let at = 0; at < bytes.length; ) {
    const short = bytes[at + 1]!;
    const length = short === 126 ? bytes.readUInt16BE(at + 2) : short;
    const start = at + (short === 126 ? 4 : 2);
    if (bytes[at] === 0x8a) pongs++;
    else parts.push(bytes.subarray(start, start + length));
    at = start + length;
  }
  return { payload: Buffer.concat(parts), pongs };
}

test("frames that no client may send close the connection with their code [MQTT-6.0.0-1]", () => {
  const hello = Buffer.from("hi");
  const wrong: readonly [string, Uint8Array, number][] = [
    ["not masked", Uint8Array.of(0x82, 2, 1, 2), 1002],
    ["reserved bits", Uint8Array.of(0xc2, 0x80, 0, 0, 0, 0), 1002],
    ["text", frame(hello, { opcode: 1 }), 1003],
    ["an unknown opcode", frame(hello, { opcode: 5 }), 1002],
    ["a fragmented ping", frame(hello, { opcode: 9, final: false }), 1002],
    ["a long ping", frame(new Uint8Array(126), { opcode: 9 }), 1002],
    ["the middle without a beginning", frame(hello, { opcode: 0 }), 1002],
    ["a beginning in the middle", Buffer.concat([frame(hello, { final: false }), frame(hello)]), 1002],
    ["a length beyond numbers", Uint8Array.of(0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4), 1002],
  ];
  for (const [what, bytes, code] of wrong) {
    const { inner, hear } = open();
    hear(Buffer.from(request));
    inner.written.length = 0;
    hear(bytes);
    expect([what, inner.isClosed, [...inner.written]]).toEqual([what, true, [0x88, 2, code >> 8, code & 255]]);
  }
});

const v2 = (command: number, family: number, body: readonly number[]): Uint8Array =>
  Uint8Array.of(
    13,
    10,
    13,
    10,
    0,
    13,
    10,
    81,
    85,
    73,
    84,
    10,
    0x20 | command,
    family,
    body.length >> 8,
    body.length & 255,
    ...body,
  );
const ipv4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x9c, 0x40, 7, 91];
const commonName = [0x22, 0, 3, ...Buffer.from("dev")];
const tls = [0x20, 0, 5 + commonName.length, 0x07, 0, 0, 0, 0, ...commonName];

const mapped = [...Array(10).fill(0), 0xff, 0xff, 192, 0, 2, 7];

test("PROXY headers, both versions, in any chunks", () => {
  const headers: readonly [Uint8Array, string, string | undefined][] = [
    [Buffer.from("PROXY TCP4 192.0.2.7 10.0.0.1 40000 1883\r\n"), "192.0.2.7:40000", undefined],
    [Buffer.from("PROXY TCP6 2001:db8::7 ::1 40000 1883\r\n"), "2001:db8::7:40000", undefined],
    [Buffer.from("PROXY TCP6 ::FFFF:192.0.2.7 ::1 0 65535\r\n"), "192.0.2.7:0", undefined],
    [Buffer.from("PROXY UNKNOWN\r\n"), "10.0.0.1:5", undefined],
    [Buffer.from("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"), "10.0.0.1:5", undefined],
    [v2(1, 0x11, ipv4), "192.0.2.7:40000", undefined],
    [v2(1, 0x11, [...ipv4, ...tls]), "192.0.2.7:40000", "dev"],
    [v2(1, 0x21, [...Array(15).fill(0), 7, ...Array(16).fill(0), 0, 80, 0, 80]), "::7:80", undefined],
    [v2(1, 0x21, [...mapped, ...Array(16).fill(0), 0, 80, 0, 80]), "192.0.2.7:80", undefined],
    [v2(0, 0, []), "10.0.0.1:5", undefined],
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...headers),
      fc.uint8Array({ maxLength: 20 }),
      fc.array(fc.nat(100), { maxLength: 8 }),
      ([header, remote, name], rest, cuts) => {
        const seen: Owner[] = [];
        const proxied = behindProxy(
          {
            ...events,
            opened: (transport) => {
              seen.push({ transport, received: [] });
              return seen[0]!;
            },
          },
          { from: ["10.0.0.0/8"], certificates: true, refused: () => {} },
        );
        const inner = new FakeTransport();
        const end = proxied.opened(inner);
        for (const chunk of chunks(Buffer.concat([header, rest]), cuts))
          if (chunk.length > 0) proxied.received(end, chunk);
        expect(seen.length).toBe(1);
        expect(seen[0]!.transport.remote).toBe(remote);
        expect(seen[0]!.transport.certificate?.commonName).toBe(name);
        expect(seen[0]!.received).toEqual([...rest]);
        proxied.closed(end, undefined);
      },
    ),
  );
});

const malformedTexts = [
  "TCP4 evil 10.0.0.1 40000 1883",
  "TCP4 999.0.2.7 10.0.0.1 40000 1883",
  "TCP4 192.0.2 10.0.0.1 40000 1883",
  "TCP4 192.0.02.7 10.0.0.1 40000 1883",
  "TCP4 192.0.2.7 evil 40000 1883",
  "TCP4 192.0.2.7 10.0.0.1 65536 1883",
  "TCP4 192.0.2.7 10.0.0.1 04000 1883",
  "TCP4 192.0.2.7 10.0.0.1 40000",
  "TCP4 192.0.2.7 10.0.0.1 40000 1883 more",
  "TCP4  192.0.2.7 10.0.0.1 40000 1883",
  "TCP4 ::1 ::1 40000 1883",
  "TCP6 192.0.2.7 10.0.0.1 40000 1883",
  "TCP6 1::2::3 ::1 40000 1883",
  "TCP6 fe80::1%eth0 ::1 40000 1883",
  "TCP6 :::::::: ::1 40000 1883",
  "UDP4 192.0.2.7 10.0.0.1 40000 1883",
];

test("what is no PROXY header is refused", () => {
  const unverified = [0x20, 0, 5 + commonName.length, 0x07, 0, 0, 0, 1, ...commonName];
  expect(readProxyHeader(v2(1, 0x11, [...ipv4, ...unverified]))!.from.certificate).toBeUndefined();
  for (const bytes of [
    Buffer.from("\x10\x10\x00\x04MQTT"),
    ...malformedTexts.map((words) => Buffer.from(`PROXY ${words}\r\n`)),
    Buffer.from(`PROXY TCP4 ${"1".repeat(120)}`),
    v2(1, 0x11, ipv4.slice(0, 5)),
    v2(1, 0x11, [...ipv4, 0x20, 0xff, 0xff, 1]),
    v2(3, 0x11, ipv4),
    v2(1, 0x41, [...ipv4, ...Array(300).fill(0)]),
    v2(1, 0x13, ipv4),
    Uint8Array.of(...v2(1, 0x11, ipv4).slice(0, 14), 0xff, 0xff),
  ]) {
    expect(() => readProxyHeader(bytes)).toThrow();
  }
});

test("PROXY headers are believed from the balancer alone, and names of certificates only where that is said", () => {
  const opened = (address: string, from: readonly string[], certificates: boolean) => {
    const seen: Transport[] = [];
    const refused: string[] = [];
    const trust = { from, certificates, refused: (one: string) => void refused.push(one) };
    const proxied = behindProxy(
      { ...events, opened: (transport) => ({ transport: seen[seen.push(transport) - 1]!, received: [] }) },
      trust,
    );
    const inner = Object.assign(new FakeTransport(), { address });
    const end = proxied.opened(inner);
    proxied.received(end, v2(1, 0x11, [...ipv4, ...tls]));
    proxied.closed(end, undefined);
    return { seen, refused, isClosed: inner.isClosed };
  };
  for (const address of ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "fe80::1%eth0"]) {
    const { seen, refused } = opened(address, ["10.0.0.0/8", "fd00::/8", "fe80::1"], false);
    expect({ address: seen[0]?.address, certificate: seen[0]?.certificate, refused }).toEqual({
      address: "192.0.2.7",
      certificate: undefined,
      refused: [],
    });
  }
  expect(opened("10.1.2.3", ["10.0.0.0/8"], true).seen[0]!.certificate!.commonName).toBe("dev");
  for (const address of ["11.0.0.1", "::ffff:11.0.0.1", "fd00::1", "", "::a00:1"])
    expect(opened(address, ["10.0.0.0/8"], true)).toEqual({ seen: [], refused: [address], isClosed: true });
});

test("ranges of addresses, and one text for each address", () => {
  const holds = (range: string, address: string): boolean => new AddressRanges([range]).holds(address);
  for (const [range, inside, outside] of [
    ["10.0.0.0/8", "10.255.0.1", "11.0.0.0"],
    ["10.0.0.5", "10.0.0.5", "10.0.0.4"],
    ["::ffff:10.0.0.0/104", "10.1.1.1", "11.1.1.1"],
    ["0.0.0.0/0", "203.0.113.9", "::1"],
    ["::/0", "2001:db8::1", "203.0.113.9"],
    ["2001:db8::/33", "2001:DB8:7fff::1", "2001:db8:8000::"],
  ] as const)
    expect([holds(range, inside), holds(range, outside)]).toEqual([true, false]);
  for (const text of [
    "",
    "10.0.0.0/33",
    "10.0.0/8",
    "::ffff:10.0.0.0/8",
    "fe80::1%1",
    "10.0.0.0/",
    "a/8",
    "10.0.0.0/8 ",
  ])
    expect(() => checkRange(text)).toThrow("no range of addresses");
  expect(
    ["::FFFF:1.2.3.4", "0:0:0:0:0:ffff:0102:0304", "2001:DB8:0:0::1", "fe80::1%eth0", "a:b", ""].map(canonicalAddress),
  ).toEqual([...["1.2.3.4", "1.2.3.4", "2001:db8::1", "fe80::1", "a:b", ""]]);
});
