/** Payloads with places that are filled for each message, by emqtt_bench's names: %TIMESTAMP%, %UNIQUE%, %RANDOM%. */
import { systemRandom } from "../base/random.ts";

/** All that a payload is filled with. */
export interface Filling {
  /** Milliseconds since 1970. */
  readonly wall: number;
  /** No other message of the load has it. */
  readonly unique: string;
  /** The length of %RANDOM% in bytes. */
  readonly randomBytes: number;
}

/** Returns the bytes of a payload. `template`: a character a byte. */
export function fillPayload(template: string, { wall, unique, randomBytes }: Filling): Uint8Array {
  const text = template.replace(/%(TIMESTAMP(?:MS|US|NS)?|UNIQUE|RANDOM)%/g, (_, name: string) => {
    if (name === "UNIQUE") return unique;
    if (name === "RANDOM") return Buffer.from(systemRandom.hex(randomBytes), "hex").toString("latin1");
    const ms = Math.floor(wall);
    return name.endsWith("US") ? `${ms}000` : name.endsWith("NS") ? `${ms}000000` : `${ms}`;
  });
  return Buffer.from(text, "latin1");
}
