/** SOCKS version 5 (RFC 1928, RFC 1929), as a client: a proxy that connects to a host on our behalf. No IO. */
import { concatBytes, encodeUtf8, noBytes } from "../base/bytes.ts";
import { OperatingError } from "../base/errors.ts";

export interface SocksProxy {
  readonly host: string;
  readonly port: number;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

const version = 5;
const methods = { none: 0, password: 2 } as const;
const passwordVersion = 1;
const connectCommand = 1;
const addressTypes = { ipv4: 1, name: 3, ipv6: 4 } as const;
/** The proxy's reasons for not having connected (RFC 1928, 6). */
const refusals = [
  "",
  "general failure",
  "its rules do not allow it",
  "the network cannot be reached",
  "the host cannot be reached",
  "connection refused",
  "the time to live has expired",
  "it does not know the command",
  "it does not know this type of address",
];

export class SocksHandshake {
  readonly #target: { readonly host: string; readonly port: number };
  readonly #proxy: SocksProxy;
  #state: "greeted" | "authenticating" | "connecting" | "done" = "greeted";
  #received: Uint8Array = noBytes;

  constructor(proxy: SocksProxy, target: { readonly host: string; readonly port: number }) {
    this.#proxy = proxy;
    this.#target = target;
  }

  /** The bytes to send first: the methods of authentication that are offered. */
  get greeting(): Uint8Array {
    const offered = this.#proxy.username === undefined ? [methods.none] : [methods.none, methods.password];
    return Uint8Array.of(version, offered.length, ...offered);
  }

  /** True: the connection leads to the host, and `rest` comes from there. */
  get isDone(): boolean {
    return this.#state === "done";
  }

  get rest(): Uint8Array {
    return this.#received;
  }

  /** Takes what has come; returns what is to be sent. Throws `OperatingError`: the proxy refuses, or is none. */
  receive(bytes: Uint8Array): Uint8Array {
    this.#received = concatBytes([this.#received, bytes]);
    const answers: Uint8Array[] = [];
    for (let answer = this.#step(); answer !== undefined; answer = this.#step()) answers.push(answer);
    return concatBytes(answers);
  }

  /** Undefined: more has to come first, or nothing has. */
  #step(): Uint8Array | undefined {
    switch (this.#state) {
      case "greeted": {
        const [from, method] = this.#take(2) ?? [];
        if (from === undefined) return undefined;
        if (from !== version) throw refused("it does not speak SOCKS 5");
        if (method === methods.none) return this.#connect();
        if (method !== methods.password) throw refused("it wants another login than a user name and a password");
        this.#state = "authenticating";
        return this.#login();
      }
      case "authenticating": {
        const [, status] = this.#take(2) ?? [];
        if (status === undefined) return undefined;
        if (status !== 0) throw refused("it does not accept user name and password");
        return this.#connect();
      }
      case "connecting":
        this.#takeReply();
        return undefined;
      default:
        return undefined;
    }
  }

  #login(): Uint8Array {
    const [name, password] = [this.#proxy.username ?? "", this.#proxy.password ?? ""].map(encodeUtf8);
    return concatBytes([
      Uint8Array.of(passwordVersion, name!.length),
      name!,
      Uint8Array.of(password!.length),
      password!,
    ]);
  }

  #connect(): Uint8Array {
    this.#state = "connecting";
    const { host, port } = this.#target;
    const name = encodeUtf8(host);
    // The proxy finds the address: it may know names that we do not.
    const head = Uint8Array.of(version, connectCommand, 0, addressTypes.name, name.length);
    return concatBytes([head, name, Uint8Array.of(port >> 8, port & 0xff)]);
  }

  #takeReply(): void {
    const bytes = this.#received;
    if (bytes.length < 5) return;
    if (bytes[1] !== 0) throw refused(refusals[bytes[1]!] ?? `reply ${bytes[1]}`);
    const type = bytes[3];
    const address = type === addressTypes.ipv4 ? 4 : type === addressTypes.ipv6 ? 16 : 1 + bytes[4]!;
    if (bytes.length < 4 + address + 2) return;
    this.#received = bytes.subarray(4 + address + 2);
    this.#state = "done";
  }

  #take(count: number): Uint8Array | undefined {
    if (this.#received.length < count) return undefined;
    const taken = this.#received.subarray(0, count);
    this.#received = this.#received.subarray(count);
    return taken;
  }
}

function refused(why: string): OperatingError {
  return new OperatingError("ECONNECT", `the proxy refuses: ${why}`);
}
