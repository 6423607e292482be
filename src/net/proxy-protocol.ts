/**
 * PROXY protocol, versions 1 and 2 (haproxy.org/download/2.9/doc/proxy-protocol.txt): a load balancer says first for
 * whom it speaks. Whoever does not begin with such a header is refused: else anybody could take any address.
 */
import { noBytes } from "../base/bytes.ts";
import { AddressRanges, canonicalAddress, isIPv4, isIPv6 } from "../base/ip-address.ts";
import { proxyHeaderBytesMax, proxyHeaderMs } from "../base/limits.ts";
import type { Certificate } from "./transport.ts";
import { Over, type Transport, type TransportEvents } from "./transport.ts";

const signature = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
/** Types of additional information: TLS, and in it the common name of the client's certificate. */
const typeTls = 0x20;
const typeCommonName = 0x22;
/** Flag: the client has shown a certificate in this connection. */
const shownHere = 0x02;

export interface ProxiedFrom {
  /** "": the proxy speaks for itself (LOCAL, or an address family that is none of IP's). */
  readonly address: string;
  readonly port: number;
  readonly certificate: Certificate | undefined;
}

export interface ProxyHeader {
  readonly length: number;
  readonly from: ProxiedFrom;
}

/** The load balancer's fault: bytes that are no such header. Its connection is closed. */
class HeaderError extends Error {
  override readonly name = "HeaderError";
}

/** Reads a header at the start; undefined: it has not come whole. Throws `HeaderError` if it is none. */
export function readProxyHeader(bytes: Uint8Array): ProxyHeader | undefined {
  return bytes[0] === 0x50 ? readText(bytes) : readBinary(bytes);
}

/** The proxies that are believed, and how far. */
export interface ProxyTrust {
  /** The ranges of addresses from which headers are believed; whoever else connects is refused. */
  readonly from: readonly string[];
  /** True if the name in a certificate is believed that the proxy says it has verified. */
  readonly certificates: boolean;
  /** Told the address of a connection that is refused since it comes from elsewhere. */
  readonly refused: (address: string) => void;
}

/**
 * Reads the header off connections before the owner hears of them. Throws an error in words for a range that is none.
 */
export function behindProxy<Owner>(
  events: TransportEvents<Owner>,
  trust: ProxyTrust,
): TransportEvents<ProxiedEnd<Owner>> {
  const ranges = new AddressRanges(trust.from);
  return {
    opened(transport) {
      const isTrusted = ranges.holds(transport.address);
      if (!isTrusted) {
        trust.refused(transport.address);
        transport.abort();
      }
      return new ProxiedEnd(transport, events, { ...trust, isTrusted });
    },
    received: (end, bytes) => end.received(bytes),
    drained: (end) => end.drained(),
    closed: (end, error) => end.closed(error),
  };
}

class ProxiedTransport extends Over {
  readonly #from: ProxiedFrom;

  constructor(inner: Transport, from: ProxiedFrom, { certificates }: Pick<ProxyTrust, "certificates">) {
    super(inner);
    this.#from = certificates ? from : { ...from, certificate: undefined };
  }

  override get address(): string {
    return this.#from.address || this.inner.address;
  }

  override get remote(): string {
    const { address, port } = this.#from;
    return address === "" ? this.inner.remote : `${address}:${port}`;
  }

  override get certificate(): Certificate | undefined {
    return this.#from.certificate;
  }
}

export class ProxiedEnd<Owner> {
  readonly #inner: Transport;
  readonly #events: TransportEvents<Owner>;
  readonly #trust: Pick<ProxyTrust, "certificates"> & { readonly isTrusted: boolean };
  readonly #deadline: NodeJS.Timeout;
  #owner: Owner | undefined;
  #isOpen = false;
  #head: Uint8Array = noBytes;

  constructor(
    inner: Transport,
    events: TransportEvents<Owner>,
    trust: Pick<ProxyTrust, "certificates"> & { readonly isTrusted: boolean },
  ) {
    this.#inner = inner;
    this.#events = events;
    this.#trust = trust;
    this.#deadline = setTimeout(() => inner.abort(), proxyHeaderMs);
    this.#deadline.unref();
  }

  received(bytes: Uint8Array): void {
    if (this.#isOpen) return this.#events.received(this.#owner!, bytes);
    if (!this.#trust.isTrusted) return;
    this.#head = this.#head.length === 0 ? bytes : Buffer.concat([this.#head, bytes]);
    let header: ProxyHeader | undefined;
    try {
      header = readProxyHeader(this.#head);
    } catch (error) {
      if (!(error instanceof HeaderError)) throw error;
      return this.#inner.abort();
    }
    if (header === undefined) return;
    clearTimeout(this.#deadline);
    const rest = this.#head.subarray(header.length);
    this.#head = noBytes;
    this.#isOpen = true;
    this.#owner = this.#events.opened(new ProxiedTransport(this.#inner, header.from, this.#trust));
    if (rest.length > 0) this.#events.received(this.#owner, rest);
  }

  drained(): void {
    if (this.#isOpen) this.#events.drained(this.#owner!);
  }

  closed(error: string | undefined): void {
    clearTimeout(this.#deadline);
    if (this.#isOpen) this.#events.closed(this.#owner!, error);
  }
}

const itself: ProxiedFrom = { address: "", port: 0, certificate: undefined };

/** A port has no leading zeros (2.1). */
const portForm = /^(0|[1-9]\d{0,4})$/;

/** Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 40000 1883` and CRLF, 107 bytes at most. */
function readText(bytes: Uint8Array): ProxyHeader | undefined {
  const text = Buffer.from(bytes.subarray(0, 107)).toString("latin1");
  if (!"PROXY ".startsWith(text.slice(0, 6))) throw new HeaderError("no PROXY header");
  const end = text.indexOf("\r\n");
  if (end === -1) {
    if (text.length >= 107) throw new HeaderError("a PROXY header without end");
    return undefined;
  }
  const [, family, ...words] = text.slice(0, end).split(" ");
  if (family === "UNKNOWN") return { length: end + 2, from: itself };
  const [source = "", destination = "", sourcePort = "", destinationPort = ""] = words;
  const isAddress = family === "TCP4" ? isIPv4 : family === "TCP6" ? isIPv6 : () => false;
  const isRight =
    words.length === 4 &&
    [source, destination].every(isAddress) &&
    [sourcePort, destinationPort].every((port) => portForm.test(port) && Number(port) <= 65_535);
  if (!isRight) throw new HeaderError("a PROXY header without an address");
  return {
    length: end + 2,
    from: { address: canonicalAddress(source), port: Number(sourcePort), certificate: undefined },
  };
}

function readBinary(bytes: Uint8Array): ProxyHeader | undefined {
  for (let at = 0; at < Math.min(12, bytes.length); at++)
    if (bytes[at] !== signature[at]) throw new HeaderError("no PROXY header");
  if (bytes.length < 16) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = 16 + view.getUint16(14);
  if (bytes[12]! >> 4 !== 2 || (bytes[12]! & 0x0f) > 1)
    throw new HeaderError("an unknown version of the PROXY protocol");
  if (length > proxyHeaderBytesMax) throw new HeaderError("the PROXY header is too long");
  if (bytes.length < length) return undefined;
  const isLocal = (bytes[12]! & 0x0f) === 0;
  const family = bytes[13]! >> 4;
  if (isLocal) return { length, from: itself };
  if (family > 3 || (bytes[13]! & 0x0f) > 2) throw new HeaderError("an unknown family of addresses");
  const addressBytes = family === 1 ? 12 : family === 2 ? 36 : family === 3 ? 216 : 0;
  if (length < 16 + addressBytes) throw new HeaderError("the PROXY header's address is cut off");
  const certificate = readCertificate(bytes.subarray(16 + addressBytes, length));
  if (family === 1)
    return { length, from: { address: bytes.subarray(16, 20).join("."), port: view.getUint16(24), certificate } };
  if (family !== 2) return { length, from: { ...itself, certificate } };
  const groups = Array.from({ length: 8 }, (_, index) => view.getUint16(16 + 2 * index).toString(16));
  return { length, from: { address: canonicalAddress(groups.join(":")), port: view.getUint16(48), certificate } };
}

/** The common name that the proxy has verified; undefined: none. */
function readCertificate(bytes: Uint8Array): Certificate | undefined {
  const tls = findValue(bytes, typeTls);
  if (tls === undefined || tls.length < 5 || (tls[0]! & shownHere) === 0) return undefined;
  // Verified: 0.
  if ((tls[1]! | tls[2]! | tls[3]! | tls[4]!) !== 0) return undefined;
  const name = findValue(tls.subarray(5), typeCommonName);
  return name && { commonName: Buffer.from(name).toString("utf8"), alternativeNames: [], expiresAt: Infinity };
}

function findValue(bytes: Uint8Array, type: number): Uint8Array | undefined {
  let at = 0;
  while (at + 3 <= bytes.length) {
    const length = (bytes[at + 1]! << 8) | bytes[at + 2]!;
    if (at + 3 + length > bytes.length) throw new HeaderError("additional information in the PROXY header is cut off");
    if (bytes[at] === type) return bytes.subarray(at + 3, at + 3 + length);
    at += 3 + length;
  }
  return undefined;
}
