/** The options of a connection, made of those that the application has given its client. */
import { Buffer } from "node:buffer";
import { encodeUtf8 } from "../base/bytes.ts";
import { sessionNeverExpires } from "../mqtt/constants.ts";
import type { Target } from "./address.ts";
import type { CurrentOptions } from "./check-options.ts";
import type { UserProperties, Will } from "./client-options.ts";
import type { ConnectionOptions, Login, WillProperties } from "./connection-options.ts";
import { checkUserProperties } from "./outgoing-publish.ts";
import { scramLogin } from "./scram.ts";

const keepAliveMsDefault = 30_000;

export interface ConnectFacts {
  readonly clientId: string;
  /** True if the client has not been connected yet. */
  readonly isFirst: boolean;
  readonly target: Target;
}

/** Asks for the password, where that is a function. Rejects with what it throws. */
export async function connectOptionsOf(
  options: CurrentOptions,
  { clientId, isFirst, target }: ConnectFacts,
): Promise<ConnectionOptions> {
  const { version, will, sessionExpiryMs = 0, clean = false, keepAliveMs = keepAliveMsDefault, auth } = options;
  const given = options.password;
  const password = typeof given === "function" ? await given() : (given ?? target.password);
  const username = options.username ?? target.username;
  const login = auth === undefined ? undefined : loginOf(username, password);
  return {
    // Whoever is to prove something is not spoken to in a version that has no proofs.
    ...(login === undefined ? {} : { login, version: 5 as const }),
    ...(version === undefined ? {} : { version }),
    clientId,
    clean: sessionExpiryMs === 0 || (clean && isFirst),
    keepAlive: secondsOf(keepAliveMs),
    ...(username === undefined || login !== undefined ? {} : { username }),
    ...(password === undefined || login !== undefined ? {} : { password }),
    ...(will === undefined ? {} : { will: willOf(will) }),
    ...(sessionExpiryMs > 0
      ? { sessionExpiryInterval: Math.min(secondsOf(sessionExpiryMs), sessionNeverExpires) }
      : {}),
    properties: {
      ...(options.receiveMaximum === undefined ? {} : { receiveMaximum: options.receiveMaximum }),
      requestResponseInformation: true,
      ...(options.userProperties === undefined ? {} : { userProperties: recordOf(options.userProperties)! }),
      ...(options.packetBytesMax === undefined ? {} : { maximumPacketSize: options.packetBytesMax }),
    },
  };
}

/** Throws a `TypeError`. */
function loginOf(username: string | undefined, password: string | Uint8Array | undefined): Login {
  if (username === undefined || password === undefined) throw new TypeError("auth needs a user name and a password");
  return scramLogin(username, password);
}

function willOf(will: Will): NonNullable<ConnectionOptions["will"]> {
  const { topic, payload, qos = 0, retain = false, delayMs, expiryMs, contentType, responseTopic, isText } = will;
  const properties = present({
    willDelayInterval: delayMs && secondsOf(delayMs),
    messageExpiryInterval: expiryMs && secondsOf(expiryMs),
    contentType,
    responseTopic,
    correlationData: will.correlationData && Buffer.from(will.correlationData),
    payloadFormatIndicator: isText || undefined,
    userProperties: recordOf(will.userProperties),
  });
  const bytes = typeof payload === "string" ? encodeUtf8(payload) : payload;
  return { topic, payload: bytes, qos, retain, ...(Object.keys(properties).length > 0 ? { properties } : {}) };
}

/** The broker is told whole seconds: no time is cut short. */
function secondsOf(ms: number): number {
  return Math.ceil(ms / 1000);
}

/** Returns user properties as mqtt-packet has them: a name that stands more than once has a list. */
function recordOf(given: UserProperties | undefined): Record<string, string | string[]> | undefined {
  if (given === undefined) return undefined;
  const values = new Map<string, string[]>();
  for (const [name, value] of checkUserProperties(given)) values.set(name, [...(values.get(name) ?? []), value]);
  return Object.fromEntries([...values].map(([name, list]) => [name, list.length === 1 ? list[0]! : list]));
}

/** Returns the entries that have a value. */
function present(values: object): WillProperties {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as WillProperties;
}
