/** The client's side of SCRAM-SHA-256 (RFC 7677), written anew: none of the code under test proves anything for it. */
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";

/** One exchange: `first` for CONNECT, `final` answers the server's first word; `proves` checks its last one. */
export function scramClient(username: string, password: string, gs2Header = "n,,") {
  const nonce = "rOprNGfwEbeRWgbNEkqO";
  const bare = `n=${username},r=${nonce}`;
  let serverSignature = "";
  return {
    first: Buffer.from(`${gs2Header}${bare}`),
    final(serverFirst: Buffer): Buffer {
      const [, r, s, i] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(serverFirst.toString())!;
      const salted = pbkdf2Sync(password, Buffer.from(s!, "base64"), Number(i), 32, "sha256");
      const clientKey = createHmac("sha256", salted).update("Client Key").digest();
      const message = `${bare},${serverFirst},c=biws,r=${r}`;
      const stored = createHash("sha256").update(clientKey).digest();
      const signature = createHmac("sha256", stored).update(message).digest();
      const serverKey = createHmac("sha256", salted).update("Server Key").digest();
      serverSignature = `v=${createHmac("sha256", serverKey).update(message).digest("base64")}`;
      return Buffer.from(
        `c=biws,r=${r},p=${Buffer.from(clientKey.map((byte, at) => byte ^ signature[at]!)).toString("base64")}`,
      );
    },
    proves: (last: Buffer): boolean => last.toString() === serverSignature,
  };
}
