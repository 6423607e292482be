/** Protection Encapsulation of MQTT-SN 2.0: whose packet it is, that it is as it was sent, and that it is a new one. */

import { describe, expect, test } from "bun:test";
import { createDecipheriv, createHash, createHmac } from "node:crypto";
import fc from "fast-check";
import { type ProtectOptions, protect, SnKeys } from "../../src/mqttsn/protection.ts";
import { seeded } from "../simulation/world.ts";

const bytesOf = (hex: string): Uint8Array => Uint8Array.fromHex(hex.replace(/ /g, ""));
const sender = "0011223344556677";
const pingreq = bytesOf("040c0102");
const schemes = [
  ["HMAC-SHA256", 0x00, "000102030405060708090a0b0c0d0e0f"],
  ["AES-GCM, 128 bits", 0x46, "000102030405060708090a0b0c0d0e0f"],
  ["AES-GCM, 192 bits", 0x47, "000102030405060708090a0b0c0d0e0f1011121314151617"],
  ["AES-GCM, 256 bits", 0x48, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"],
] as const;

function keysWith(key: string, user = ""): SnKeys {
  const keys = new SnKeys(seeded(1), 1);
  keys.load(`# devices\n${sender}, ${key}${user === "" ? "" : `, ${user}`}\n`);
  return keys;
}

function packetOf(key: string, scheme: number, more: Partial<ProtectOptions> = {}, packet = pingreq): Uint8Array {
  const given = { key: bytesOf(key), scheme, sender: bytesOf(sender), random: bytesOf("deadbeef"), counter: 7 };
  return protect(packet, { ...given, ...more });
}

test("the bytes are those of the draft's figure, and the tag is over all before it", () => {
  const [, scheme, key] = schemes[0];
  const header = "38 ff 12 00 0011223344556677 deadbeef 00000007".replace(/ /g, "");
  const tag = createHmac("sha256", bytesOf(key))
    .update(bytesOf(`${header}040c0102`))
    .digest("hex");
  expect(Buffer.from(packetOf(key, scheme)).toString("hex")).toBe(`${header}040c0102${tag}`);
});

test("AES-GCM's nonce is the hash of all before the packet, which is what it authenticates, too", () => {
  const [, scheme, key] = schemes[1];
  const bytes = packetOf(key, scheme);
  const header = bytesOf("28 ff 12 46 0011223344556677 deadbeef 00000007");
  expect(bytes.subarray(0, header.length)).toEqual(header);
  const nonce = createHash("sha256").update(header).digest().subarray(0, 12);
  const decipher = createDecipheriv("aes-128-gcm", bytesOf(key), nonce);
  decipher.setAAD(header);
  decipher.setAuthTag(bytes.subarray(-16));
  expect(Buffer.concat([decipher.update(bytes.subarray(header.length, -16)), decipher.final()]).toString("hex")).toBe(
    "040c0102",
  );
});

describe.each(schemes)("%s", (_, scheme, key) => {
  test("what is protected is opened, by who has the key; the answer is protected as the question was", () => {
    const keys = keysWith(key, "meters");
    const opened = keys.open(packetOf(key, scheme));
    if (!opened.isOpen) throw new Error(opened.why);
    expect([...opened.inner]).toEqual([...pingreq]);
    expect(opened.protection).toMatchObject({ sender, user: "meters" });
    const answer = opened.protection.wrap(bytesOf("040d0102"));
    expect(answer.length).toBeLessThanOrEqual(4 + opened.protection.overhead);
    const gateway = Buffer.from("MQTTZoo\x01").toString("hex");
    const device = new SnKeys(seeded(2), 1);
    device.load(`${gateway},${key}`);
    const read = device.open(answer);
    if (!read.isOpen) throw new Error(read.why);
    expect([...read.inner]).toEqual([...bytesOf("040d0102")]);
    // No two packets are alike, though they say the same.
    expect(opened.protection.wrap(bytesOf("040d0102"))).not.toEqual(answer);
  });

  test("each bit counts", () => {
    const keys = keysWith(key);
    const whole = packetOf(key, scheme);
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const bent = whole.slice();
      bent[bit >> 3]! ^= 1 << (bit & 7);
      expect(keys.open(bent).isOpen).toBe(false);
    }
    expect(keys.open(whole).isOpen).toBe(true);
  });

  test("larger packets have a longer header", () => {
    const large = new Uint8Array(300).fill(7);
    const bytes = packetOf(key, scheme, {}, large);
    expect(bytes[0]).toBe(1);
    const opened = keysWith(key).open(bytes);
    expect(opened.isOpen && [...opened.inner]).toEqual([...large]);
  });
});

test("the counter of a packet is told, and those of its answers go by the time of day", () => {
  const [, scheme, key] = schemes[0];
  const at = (wall: number): number => {
    const keys = new SnKeys(seeded(1), 1, () => wall);
    keys.load(`${sender},${key}`);
    const opened = keys.open(packetOf(key, scheme, { counter: 4_000_000 }));
    if (!opened.isOpen) throw new Error(opened.why);
    expect(opened.counter).toBe(4_000_000);
    const counterOf = (bytes: Uint8Array): number => new DataView(bytes.buffer).getUint32(16);
    const counters = [1, 2, 3].map(() => counterOf(opened.protection.wrap(pingreq)));
    expect(counters).toEqual([0, 1, 2].map((more) => counters[0]! + more));
    return counters[0]!;
  };
  // A broker that is started again, or another one, goes on above what has been sent before.
  const wall = Date.UTC(2026, 7, 1);
  expect(at(wall + 1000)).toBe(at(wall) + 8);
  expect(at(Date.UTC(2042, 0, 1))).toBeLessThan(2 ** 32);
  // One that is forged tells nothing.
  const forged = packetOf(key, scheme, { counter: 4_000_000 });
  forged[forged.length - 1]! ^= 1;
  expect(keysWith(key).open(forged)).toEqual({ isOpen: false, why: "forged" });
});

test("strangers, other schemes and packets without a counter are refused", () => {
  const [, scheme, key] = schemes[0];
  const keys = keysWith(key);
  const why = (bytes: Uint8Array): string => {
    const opened = keys.open(bytes);
    return opened.isOpen ? "open" : opened.why;
  };
  expect(why(packetOf(key, scheme, { sender: bytesOf("0011223344556678") }))).toBe("unknown sender");
  expect(why(packetOf("ff".repeat(16), scheme))).toBe("forged");
  // AES-GCM with another size of key, CMAC, ChaCha20.
  for (const other of [0x47, 0x02, 0x49]) {
    const bytes = packetOf(key, scheme);
    bytes[3] = other;
    expect(why(bytes)).toBe("malformed");
  }
  const uncounted = bytesOf(`34 ff 10 00 ${sender} deadbeef 040c0102 ${"00".repeat(32)}`);
  expect(why(uncounted)).toBe("malformed");
  // A tag that is cut to 64 bits is allowed, one of 32 is not.
  const header = bytesOf(`20 ff 42 00 ${sender} deadbeef 00000009`);
  const tag = createHmac("sha256", bytesOf(key)).update(header).update(pingreq).digest().subarray(0, 8);
  expect(why(Uint8Array.of(...header, ...pingreq, ...tag))).toBe("open");
  expect(why(bytesOf(`1c ff 22 00 ${sender} deadbeef 0000000a 040c0102 00000000`))).toBe("malformed");
});

test("whatever comes opens nothing", () => {
  const keys = keysWith(schemes[0][2]);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 90 }), fc.boolean(), (bytes, isAlmost) => {
      const known = Uint8Array.of(bytes.length + 15, 0xff, 0x12, 0, ...bytesOf(sender), 0, 0, 0, ...bytes);
      expect(keys.open(isAlmost ? known : bytes).isOpen).toBe(false);
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ["0011,00112233445566778899aabbccddeeff", "8 bytes"],
  [`${sender},0011`, "16 bytes or more"],
  [`${sender},00112233445566778899aabbccddeeff\n${sender},00112233445566778899aabbccddeeff`, "line 2"],
  [`${sender},00112233445566778899aabbccddeeff,a,b`, "three parts"],
])("%p is refused, and what was there stays", (text, why) => {
  const [, scheme, key] = schemes[0];
  const keys = keysWith(key);
  expect(() => keys.load(text)).toThrow(why);
  expect(keys.open(packetOf(key, scheme)).isOpen).toBe(true);
});
