/**
 * Where brokers are, as applications write it: `mqtt://a,b:1884`, `mqtts://user:password@host`, `wss://host/mqtt`,
 * `mqtt+unix:///path`.
 */

const defaultPorts = { mqtt: 1883, mqtts: 8883, ws: 80, wss: 443, "mqtt+unix": 0, memory: 0 } as const;
/** Other spellings, as other clients have them. */
const spellings: Readonly<Record<string, Scheme>> = { tcp: "mqtt", ssl: "mqtts", tls: "mqtts" };

export type Scheme = keyof typeof defaultPorts;

export interface Address {
  readonly scheme: Scheme;
  readonly host: string;
  readonly port: number;
  /** The path of a WebSocket. */
  readonly path: string;
  /** The path of a Unix socket, instead of host and port. */
  readonly socket?: string;
}

export interface Target {
  readonly addresses: readonly Address[];
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/** Several hosts stand behind one scheme, or each in a URL of its own. Throws a `TypeError` that says what is wrong. */
export function parseTarget(urls: string | readonly string[]): Target {
  const list: readonly unknown[] = Array.isArray(urls) ? urls : [urls];
  if (list.length === 0) throw new TypeError("no URL of a broker");
  if (!list.every((url) => typeof url === "string"))
    throw new TypeError("a broker's URL must be a string, such as mqtt://localhost");
  const targets = list.map(parseUrl);
  const { username, password } = targets.find((target) => target.username !== undefined) ?? targets[0]!;
  return { addresses: targets.flatMap(({ addresses }) => addresses), username, password };
}

/** Throws a `TypeError`. */
function parseUrl(url: string): Target {
  const match = /^([a-z+]+):\/\/(?:([^@/]*)@)?([^/?#]*)(\/[^#]*)?$/i.exec(url);
  const named = match?.[1]?.toLowerCase() ?? "";
  const scheme = spellings[named] ?? (named as Scheme);
  // What stands before the @ may be a password.
  if (match === null || !Object.hasOwn(defaultPorts, scheme) || (match[3] === "") !== (scheme === "mqtt+unix"))
    throw new TypeError(
      `${JSON.stringify(url.replace(/\/\/.*@/, "//…@"))} is not mqtt://, mqtts://, ws:// or wss:// and then host[:port], or several with commas between, nor mqtt+unix:///path`,
    );
  const [, , login, hosts, path = "/"] = match;
  const [username, ...password] = login?.split(":") ?? [];
  return {
    addresses:
      scheme === "mqtt+unix"
        ? [parseSocket(path)]
        : hosts!
            .split(",")
            .map((place) =>
              parsePlace(place, { scheme, path: path === "/" && scheme.startsWith("ws") ? "/mqtt" : path }),
            ),
    username: username === undefined ? undefined : decoded(username),
    password: password.length === 0 ? undefined : decoded(password.join(":")),
  };
}

/** Throws a `TypeError`. */
function parseSocket(path: string): Address {
  const socket = decoded(path);
  if (socket === "/" || socket.includes("\0")) throw new TypeError("mqtt+unix:// needs the path of a socket behind it");
  return { scheme: "mqtt+unix", host: "localhost", port: 0, path: "/", socket };
}

/** Throws a `TypeError`, which does not show the text: it may be a password. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new TypeError("a % in a broker's URL begins no character: write a % itself as %25");
  }
}

function parsePlace(place: string, like: Pick<Address, "scheme" | "path">): Address {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+)(?::(\d{1,5}))?$/.exec(place);
  const port = Number(match?.[2] ?? defaultPorts[like.scheme]);
  if (match === null || port > 65_535) throw new TypeError(`${JSON.stringify(place)} is not host[:port]`);
  return { ...like, host: match[1]!.replace(/^\[(.*)\]$/, "$1"), port };
}

/** Where a broker sends us (Server Reference, 4.11): hosts, with blanks between; what cannot be read is left out. */
export function parseReference(reference: string, like: Address): Address[] {
  return reference.split(/\s+/).flatMap((place) => {
    try {
      const { host, port } = parsePlace(place, like);
      return [{ ...like, host, port: /:\d+$/.test(place) ? port : like.port }];
    } catch {
      return [];
    }
  });
}

/** The address as people read it. */
export function nameOf({ scheme, host, port, socket }: Address): string {
  if (socket !== undefined) return `${scheme}://${socket}`;
  if (scheme === "memory") return `memory://${host}`;
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

export function webSocketUrl(address: Address): string {
  return `${nameOf(address)}${address.path}`;
}
