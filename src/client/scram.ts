/**
 * SCRAM-SHA-256 (RFC 5802, 7677), the client's side, as MQTT 5's enhanced authentication: the password proves itself
 * and is not sent, and the broker proves that it knows it too. On Web Crypto, which Bun, Node and browsers have.
 */
import { encodeUtf8 } from "../base/bytes.ts";
import { OperatingError } from "../base/errors.ts";
import { systemRandom } from "../base/random.ts";
import type { Login } from "./connection-options.ts";

export const scramMethod = "SCRAM-SHA-256";
const nonceBytes = 18;
/** Fewer iterations would make the proof easy to guess passwords from (RFC 7677, 4). */
const iterationsMin = 4096;
/** More would keep this machine busy for minutes. */
const iterationsMax = 10_000_000;

/** Returns one exchange, whose methods throw, and reject, with `OperatingError`. */
export function scramLogin(username: string, password: string | Uint8Array): Login {
  // `=` and `,` mean something there (RFC 5802, 5.1).
  const name = username.replaceAll("=", "=3D").replaceAll(",", "=2C");
  const nonce = base64(bytesOf(systemRandom.hex(nonceBytes)));
  const bare = `n=${name},r=${nonce}`;
  let proofOfServer: string | undefined;
  return {
    method: scramMethod,
    first: encodeUtf8(`n,,${bare}`),
    /** Rejects with `OperatingError`. */
    async answer(challenge) {
      const said = new TextDecoder().decode(challenge);
      const [, fullNonce, salt, count] = /^r=([^,]+),s=([A-Za-z0-9+/=]+),i=(\d+)$/.exec(said) ?? [];
      if (fullNonce === undefined || !fullNonce.startsWith(nonce) || fullNonce === nonce)
        throw failed("an odd question");
      const iterations = Number(count);
      if (iterations < iterationsMin || iterations > iterationsMax) throw failed(`${count} iterations`);
      const secret = typeof password === "string" ? encodeUtf8(password) : password;
      const salted = await pbkdf2(secret, bytesFromBase64(salt!), iterations);
      const message = encodeUtf8(`${bare},${said},c=biws,r=${fullNonce}`);
      const clientKey = await hmac(salted, encodeUtf8("Client Key"));
      const storedKey = new Uint8Array(await subtle().digest("SHA-256", clientKey));
      const signature = await hmac(storedKey, message);
      const serverKey = await hmac(salted, encodeUtf8("Server Key"));
      proofOfServer = `v=${base64(await hmac(serverKey, message))}`;
      return encodeUtf8(`c=biws,r=${fullNonce},p=${base64(clientKey.map((byte, at) => byte ^ signature[at]!))}`);
    },
    /** Throws `OperatingError`. */
    check(proof) {
      if (proofOfServer === undefined || proof === undefined || new TextDecoder().decode(proof) !== proofOfServer)
        throw failed("it has not proved that it knows the password");
    },
  };
}

function failed(why: string): OperatingError {
  return new OperatingError("EREFUSED", `SCRAM: the broker is not trusted: ${why}`);
}

type Bytes = Uint8Array<ArrayBuffer>;

/** Throws `OperatingError`. */
function subtle(): SubtleCrypto {
  const { subtle } = globalThis.crypto ?? {};
  // Browsers have it on pages that came over HTTPS, or from this machine.
  if (subtle === undefined) throw new OperatingError("EUSAGE", "SCRAM needs a page that came over HTTPS");
  return subtle;
}

async function hmac(secret: Uint8Array, data: Uint8Array): Promise<Bytes> {
  const key = await subtle().importKey("raw", secret as Bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await subtle().sign("HMAC", key, data as Bytes));
}

async function pbkdf2(password: Uint8Array, salt: Uint8Array, iterations: number): Promise<Bytes> {
  const key = await subtle().importKey("raw", password as Bytes, "PBKDF2", false, ["deriveBits"]);
  const how = { name: "PBKDF2", hash: "SHA-256", salt: salt as Bytes, iterations };
  return new Uint8Array(await subtle().deriveBits(how, key, 256));
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

function bytesFromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
