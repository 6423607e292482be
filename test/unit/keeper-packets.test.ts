/**
 * The stream from ZooKeeper, cut into packets: any way to cut it into chunks gives the same ones, and none is copied
 * over and over.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { concatBytes, writeUint32 } from "../../src/base/bytes.ts";
import { keeperReplyBytesMax } from "../../src/base/store-limits.ts";
import { JuteError } from "../../src/zookeeper/jute.ts";
import { Packets } from "../../src/zookeeper/packets.ts";

function framed(body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + body.length);
  writeUint32(bytes, 0, body.length);
  bytes.set(body, 4);
  return bytes;
}

test("any way to cut the stream gives the same packets", () => {
  const bodies = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 12, size: "max" });
  fc.assert(
    fc.property(
      bodies,
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 40, size: "max" }),
      (sent, cuts) => {
        const stream = concatBytes(sent.map(framed));
        const packets = new Packets();
        const got: Uint8Array[] = [];
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const chunk = stream.slice(at, at + cuts[turn % cuts.length]!);
          packets.receive(chunk, (bytes, start, end) => got.push(bytes.slice(start, end)) > 0);
          at += chunk.length;
        }
        expect(got).toEqual(sent);
      },
    ),
  );
});

test("a packet of megabytes in a thousand chunks is copied once", () => {
  const body = new Uint8Array(16 * 1024 * 1024).fill(7);
  const stream = framed(body);
  const packets = new Packets();
  let copied = 0;
  const set = Uint8Array.prototype.set;
  Uint8Array.prototype.set = function (from, at) {
    copied += from.length;
    set.call(this, from, at);
  };
  let whole: Uint8Array | undefined;
  try {
    for (let at = 0; at < stream.length; at += 16 * 1024)
      packets.receive(stream.subarray(at, at + 16 * 1024), (bytes, start, end) => {
        whole = bytes.subarray(start, end);
        return true;
      });
  } finally {
    Uint8Array.prototype.set = set;
  }
  expect(whole).toEqual(body);
  expect(copied).toBeLessThan(1.1 * stream.length);
});

test("nothing follows what was refused, and a length beyond all bounds is no packet", () => {
  const packets = new Packets();
  let count = 0;
  packets.receive(concatBytes([framed(Uint8Array.of(1)), framed(Uint8Array.of(2))]), () => ++count > 1);
  expect(count).toBe(1);
  const long = new Uint8Array(4);
  writeUint32(long, 0, keeperReplyBytesMax + 1);
  for (const chunks of [[long], [long.subarray(0, 2), long.subarray(2)]]) {
    const fresh = new Packets();
    expect(() => {
      for (const chunk of chunks) fresh.receive(chunk, () => true);
    }).toThrow(JuteError);
  }
});
