/** The options of a connection, made of those that the application has given its client. */
import { encodeUtf8 } from "../base/bytes.ts";
import { sessionNeverExpires } from "../mqtt/constants.ts";
import type { Target } from "./address.ts";
import type { ClientOptions, Will } from "./client-options.ts";
import type { ConnectionOptions, Login } from "./connection-options.ts";
import { scramLogin } from "./scram.ts";

const keepAliveDefault = 30;

export interface ConnectFacts {
  readonly clientId: string;
  /** True if the client has not been connected yet. */
  readonly isFirst: boolean;
  readonly target: Target;
}

/** Asks for the password, where that is a function. Rejects with what it throws. */
export async function connectOptionsOf(
  options: ClientOptions,
  { clientId, isFirst, target }: ConnectFacts,
): Promise<ConnectionOptions> {
  const { version, will, sessionExpiry = 0, clean = false, keepAlive = keepAliveDefault, auth } = options;
  const given = options.password;
  const password = typeof given === "function" ? await given() : (given ?? target.password);
  const username = options.username ?? target.username;
  const login = auth === undefined ? undefined : loginOf(username, password);
  return {
    // Whoever is to prove something is not spoken to in a version that has no proofs.
    ...(login === undefined ? {} : { login, version: 5 as const }),
    ...(version === undefined ? {} : { version }),
    clientId,
    clean: sessionExpiry === 0 || (clean && isFirst),
    keepAlive,
    ...(username === undefined || login !== undefined ? {} : { username }),
    ...(password === undefined || login !== undefined ? {} : { password }),
    ...(will === undefined ? {} : { will: willOf(will) }),
    ...(sessionExpiry > 0 ? { sessionExpiryInterval: Math.min(sessionExpiry, sessionNeverExpires) } : {}),
    properties: {
      ...(options.receiveMaximum === undefined ? {} : { receiveMaximum: options.receiveMaximum }),
      requestResponseInformation: true,
      ...(options.packetBytesMax === undefined ? {} : { maximumPacketSize: options.packetBytesMax }),
    },
  };
}

/** Throws a `TypeError`. */
function loginOf(username: string | undefined, password: string | Uint8Array | undefined): Login {
  if (username === undefined || password === undefined) throw new TypeError("auth needs a user name and a password");
  return scramLogin(username, password);
}

function willOf({ topic, payload, qos = 0, retain = false, delay }: Will): NonNullable<ConnectionOptions["will"]> {
  const bytes = typeof payload === "string" ? encodeUtf8(payload) : payload;
  return {
    topic,
    payload: bytes,
    qos,
    retain,
    ...(delay === undefined ? {} : { properties: { willDelayInterval: delay } }),
  };
}
