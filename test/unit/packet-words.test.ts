/** Packets in words: whatever pieces they come in, and whatever they are. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import * as mqttPacket from "mqtt-packet";
import { describePacket, PacketCutter } from "../../src/broker/delivery/packet-words.ts";

const publish = (topic: string, payload: string, qos: 0 | 1): Buffer =>
  mqttPacket.generate(
    { cmd: "publish", topic, payload, qos, messageId: 9, dup: false, retain: false },
    { protocolVersion: 5 },
  );

test("a stream is cut into the same packets, whatever pieces it comes in", () => {
  const sizes = fc.array(fc.integer({ min: 0, max: 200_000 }), { minLength: 1, maxLength: 5 });
  const cuts = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(sizes, cuts, (lengths, pieces) => {
      const packets = lengths.map((length) => publish("a", "x".repeat(length), 1));
      const stream = Buffer.concat(packets);
      const cutter = new PacketCutter();
      const found: number[] = [];
      for (let at = 0, turn = 0; at < stream.length; turn++) {
        const end = Math.min(stream.length, at + pieces[turn % pieces.length]!);
        cutter.feed(stream.subarray(at, end), (packet, size) => {
          expect(packet[0]! >> 4).toBe(3);
          found.push(size);
        });
        at = end;
      }
      expect(found).toEqual(packets.map(({ length }) => length));
    }),
    { numRuns: 60 },
  );
});

test("random bytes are told, or left out, and harm nobody", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 2, maxLength: 60 }),
      fc.constantFrom("received", "sent"),
      (bytes, direction) => {
        new PacketCutter().feed(bytes, (packet, size) => {
          const { text } = describePacket(packet, { direction: direction as "received", version: 5, size });
          expect(text.length).toBeGreaterThan(0);
        });
      },
    ),
    { numRuns: 5000 },
  );
});

test("a packet too large to be looked at is told by its topic and size", () => {
  const large = publish("big/one", "x".repeat(300_000), 1);
  const told: string[] = [];
  new PacketCutter().feed(large, (packet, size) => {
    told.push(describePacket(packet, { direction: "sent", version: 5, size }).text);
  });
  expect(told).toEqual([`PUBLISH big/one: QoS 1, ${large.length} bytes with all of it`]);
});
