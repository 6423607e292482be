/** The options of a connection, made of those that the application has given its client. */
import { encodeUtf8 } from "../base/bytes.ts";
import { sessionNeverExpires } from "../mqtt/constants.ts";
import type { Target } from "./address.ts";
import type { ClientOptions, Will } from "./client-options.ts";
import type { ConnectionOptions } from "./connection-options.ts";

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
  const { version, will, sessionExpiry = 0, clean = false, keepAlive = keepAliveDefault } = options;
  const given = options.password;
  const password = typeof given === "function" ? await given() : (given ?? target.password);
  const username = options.username ?? target.username;
  return {
    ...(version === undefined ? {} : { version }),
    clientId,
    clean: sessionExpiry === 0 || (clean && isFirst),
    keepAlive,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(will === undefined ? {} : { will: willOf(will) }),
    ...(sessionExpiry > 0 ? { sessionExpiryInterval: Math.min(sessionExpiry, sessionNeverExpires) } : {}),
    properties: {
      ...(options.receiveMaximum === undefined ? {} : { receiveMaximum: options.receiveMaximum }),
      requestResponseInformation: true,
      ...(options.packetBytesMax === undefined ? {} : { maximumPacketSize: options.packetBytesMax }),
    },
  };
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
