/** A broker's URL as users of mosquitto's, paho's and MQTTX's clients write it, with all that it says at once. */
import { OperatingError } from "../../src/base/errors.ts";

/** The schemes and what they mean. */
const schemes = {
  mqtt: { isTls: false, over: "tcp" },
  tcp: { isTls: false, over: "tcp" },
  mqtts: { isTls: true, over: "tcp" },
  ssl: { isTls: true, over: "tcp" },
  tls: { isTls: true, over: "tcp" },
  ws: { isTls: false, over: "webSocket" },
  wss: { isTls: true, over: "webSocket" },
  "mqtt+unix": { isTls: false, over: "unix" },
  unix: { isTls: false, over: "unix" },
} as const;

/** The forms of a URL, for help texts and errors. */
export const urlForms =
  "mqtt(s)://[user[:password]@]host[:port][/topic], tcp:// or ssl:// alike, ws(s)://host[:port][/path], or mqtt+unix:///path";

export interface BrokerUrl {
  readonly isTls: boolean;
  readonly username?: string;
  readonly password?: string;
  /** Undefined: a Unix socket. */
  readonly host?: string;
  readonly port?: number;
  /** The path of a Unix socket. */
  readonly socket?: string;
  /** The path of a WebSocket, with its query; "": it says none. Undefined: it is none. */
  readonly webSocketPath?: string;
  readonly topic?: string;
}

/** Throws `OperatingError` (EUSAGE), which does not show the password. */
export function readBrokerUrl(text: string): BrokerUrl {
  const wrong = (what: string): never => {
    throw new OperatingError("EUSAGE", `${JSON.stringify(text.replace(/\/\/.*@/, "//…@"))} is not ${what}`);
  };
  const [, name = "", rest = ""] = /^([a-z+]+):\/\/(.*)$/s.exec(text) ?? [];
  if (!Object.hasOwn(schemes, name)) return wrong(urlForms);
  const { isTls, over } = schemes[name as keyof typeof schemes];
  const match = /^(?:([^:@/]*)(?::([^@/]*))?@)?(\[[^\]/]*\]|[^:/?#]*)(?::(\d+))?(?:\/(.*)|(\?.*))?$/s.exec(rest);
  if (match === null) return wrong(urlForms);
  const [, username, password, host = "", port, path, query] = match;
  const login = {
    ...(username && { username: decoded(username, wrong) }),
    ...(password && { password: decoded(password, wrong) }),
  };
  if (over === "unix") {
    if (host !== "" || port !== undefined || !path) return wrong("mqtt+unix:///path of the socket");
    return { isTls, ...login, socket: `/${decoded(path, wrong)}` };
  }
  if (host === "" || Number(port ?? 1) > 65_535 || port === "0") return wrong(urlForms);
  const place = { isTls, ...login, host: host.replace(/^\[(.*)\]$/, "$1"), ...(port && { port: Number(port) }) };
  if (over === "webSocket") return { ...place, webSocketPath: path === undefined ? (query ?? "") : `/${path}` };
  if (query !== undefined) return wrong(urlForms);
  return { ...place, ...(path && { topic: path }) };
}

function decoded(text: string, wrong: (what: string) => never): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return wrong("a URL: % stands before two hex digits");
  }
}
