/** A device of MQTT-SN 2.0 that protects what it sends, and opens what it is sent. */
import { decodeMessage2 } from "../../src/mqttsn/decode-2.ts";
import { encodeMessage2 } from "../../src/mqttsn/encode-2.ts";
import { protect, SnKeys } from "../../src/mqttsn/protection.ts";
import { seeded } from "../simulation/world.ts";
import type { SnCodec } from "./sn-client.ts";

/** The gateway's own sender, with the default of `--sn-gateway-id`. */
const gatewayId = Buffer.from("MQTTZoo\x01").toString("hex");

export const deviceKey = "000102030405060708090a0b0c0d0e0f";
export const deviceSender = "0011223344556677";

export interface ProtectedCodec extends SnCodec {
  /** The last counter; the next packet has the next one. */
  counter: number;
}

/** `secret`: the key; `from`: the sender; both in hex. */
export function protectedBy(
  scheme: number,
  { secret = deviceKey, from = deviceSender, counter = 0 } = {},
): ProtectedCodec {
  const keys = new SnKeys(seeded(3), 1);
  keys.load(`${gatewayId},${secret}`);
  const random = Uint8Array.of(1, 2, 3, 4);
  return {
    counter,
    encode(message) {
      const given = { key: Uint8Array.fromHex(secret), scheme, sender: Uint8Array.fromHex(from), random };
      return protect(encodeMessage2(message), { ...given, counter: ++this.counter });
    },
    decode(bytes) {
      const opened = keys.open(bytes);
      return decodeMessage2(opened.isOpen ? opened.inner : bytes);
    },
  };
}
