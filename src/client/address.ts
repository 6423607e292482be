/** Where brokers are, as applications write it: `mqtt://a,b:1884`, `mqtts://user:password@host`, `wss://host/mqtt`. */

const defaultPorts = { mqtt: 1883, mqtts: 8883, ws: 80, wss: 443 } as const;

export type Scheme = keyof typeof defaultPorts;

export interface Address {
  readonly scheme: Scheme;
  readonly host: string;
  readonly port: number;
  /** The path of a WebSocket. */
  readonly path: string;
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

function parseUrl(url: string): Target {
  const match = /^(mqtt|mqtts|ws|wss):\/\/(?:([^@/]*)@)?([^/?#]+)(\/[^#]*)?$/.exec(url);
  // What stands before the @ may be a password.
  if (match === null)
    throw new TypeError(
      `${JSON.stringify(url.replace(/\/\/.*@/, "//…@"))} is not mqtt://, mqtts://, ws:// or wss:// and then host[:port], or several with commas between`,
    );
  const [, scheme, login, hosts, path = "/"] = match as unknown as [string, Scheme, string?, string?, string?];
  const [username, ...password] = login?.split(":") ?? [];
  return {
    addresses: hosts!
      .split(",")
      .map((place) => parsePlace(place, { scheme, path: path === "/" && scheme.startsWith("ws") ? "/mqtt" : path })),
    username: username === undefined ? undefined : decodeURIComponent(username),
    password: password.length === 0 ? undefined : decodeURIComponent(password.join(":")),
  };
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
export function nameOf({ scheme, host, port }: Address): string {
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

export function webSocketUrl(address: Address): string {
  return `${nameOf(address)}${address.path}`;
}
