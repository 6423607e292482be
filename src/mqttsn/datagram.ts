/**
 * A datagram becomes a message: the version it is in, what a forwarder has put around it, and, in 2.0, whether it is
 * protected, and whose it says that it is. Both versions come to one port (2.0, 3.1.5).
 */
import { readUint16 } from "../base/bytes.ts";
import { snNodeBytesMax } from "../base/sn-limits.ts";
import { SnType } from "./constants.ts";
import { Reason2, Type2 } from "./constants-2.ts";
import { decodeMessage2 } from "./decode-2.ts";
import type { Malformed, SnMessage } from "./message-kinds.ts";
import { decodeMessage } from "./messages.ts";
import type { PeerProtection } from "./peer.ts";
import type { SnKeys } from "./protection.ts";

/** A message that has come. */
export interface Arrived {
  readonly kind: "arrived";
  readonly message: SnMessage;
  /** The message's own bytes. */
  readonly bytes: Uint8Array;
  /** The wireless node behind a forwarder. */
  readonly node: Uint8Array | undefined;
  readonly version: 1 | 2;
  readonly protection: PeerProtection | undefined;
  /** The counter of a protected packet: it may have come before. */
  readonly counter: number | undefined;
  /** The client whose it says that it is, where its address may have changed. */
  readonly identifiedAs: string | undefined;
}

/** Not a message; `reason`: what its sender may be told. */
interface Refused {
  readonly kind: "refused";
  readonly node: Uint8Array | undefined;
  readonly reason: number | undefined;
}

export interface ReaderOptions {
  /** True: 2.0 is spoken, too. */
  readonly takes2: boolean;
  /** Keys of senders who protect what they send; undefined: nobody does. */
  readonly keys: SnKeys | undefined;
}

/** The shortest CONNECT of 2.0, and of 1.2: types 1 and 4 mean something shorter in the other one. */
const connect2Bytes = 10;
const connect1Bytes = 7;

/** Reads a datagram. `versionOf` knows the version of clients at its address, by their wireless nodes. */
export function readDatagram(
  bytes: Uint8Array,
  { takes2, keys }: ReaderOptions,
  versionOf: (node: Uint8Array | undefined) => 1 | 2 | undefined,
): Arrived | Refused | Malformed {
  if (!takes2) return readOf1(bytes);
  const around = forwardedIn(bytes);
  if (around === undefined) return readPlain(bytes, undefined, keys, versionOf(undefined));
  if (around.kind === "malformed") return around;
  const { node, inner } = around;
  if (node.length > snNodeBytesMax) return { kind: "malformed", why: "a wireless node id is too long" };
  return readPlain(inner, node, keys, versionOf(node));
}

function readOf1(bytes: Uint8Array): Arrived | Malformed {
  const message = decodeMessage(bytes);
  if (message.kind === "malformed") return message;
  if (message.kind !== "encapsulated") return arrived(message, { bytes, node: undefined, version: 1 });
  const { node, inner } = message;
  if (node.length > snNodeBytesMax) return { kind: "malformed", why: "a wireless node id is too long" };
  const within = decodeMessage(inner);
  if (within.kind === "malformed") return within;
  if (within.kind === "encapsulated") return twice;
  return arrived(within, { bytes: inner, node, version: 1 });
}

const twice: Malformed = { kind: "malformed", why: "what was forwarded is forwarded" };

/** Returns what a forwarder has put around a message: 1.2's length counts up to the message within, 2.0's all. */
function forwardedIn(bytes: Uint8Array): Extract<SnMessage, { kind: "encapsulated" }> | Malformed | undefined {
  const type = typeOf(bytes);
  const isOf1 = type === SnType.encapsulated && lengthOf(bytes) !== bytes.length;
  if (!isOf1 && type !== Type2.forwarder) return undefined;
  const message = isOf1 ? decodeMessage(bytes) : decodeMessage2(bytes);
  return message.kind === "encapsulated" || message.kind === "malformed" ? message : undefined;
}

function readPlain(
  bytes: Uint8Array,
  node: Uint8Array | undefined,
  keys: SnKeys | undefined,
  known: 1 | 2 | undefined,
): Arrived | Refused | Malformed {
  const type = typeOf(bytes);
  if (type === Type2.protection) {
    const opened = keys?.open(bytes);
    if (opened === undefined) return { kind: "refused", node, reason: Reason2.noProtection };
    if (!opened.isOpen)
      return { kind: "refused", node, reason: opened.why === "unknown sender" ? Reason2.unknownSender : undefined };
    const { inner, protection, counter } = opened;
    return readWithin(inner, { node, protection, counter });
  }
  if (type === Type2.connection) return readWithin(bytes, { node, protection: undefined });
  const version = versionIn(bytes, known);
  const message = version === 2 ? decodeMessage2(bytes) : decodeMessage(bytes);
  if (message.kind === "malformed") return message;
  if (message.kind === "encapsulated") return twice;
  return arrived(message, { bytes, node, version });
}

/** Reads a packet of 2.0, which may say whose it is. */
function readWithin(
  bytes: Uint8Array,
  around: {
    readonly node: Uint8Array | undefined;
    readonly protection: PeerProtection | undefined;
    readonly counter?: number;
  },
): Arrived | Malformed {
  const outer = decodeMessage2(bytes);
  if (outer.kind === "malformed") return outer;
  if (outer.kind === "encapsulated") return twice;
  if (outer.kind !== "identified") return arrived(outer, { bytes, version: 2, ...around });
  const message = decodeMessage2(outer.inner);
  if (message.kind === "malformed") return message;
  if (!mayBeIdentified.has(message.kind)) return { kind: "malformed", why: `a ${message.kind} says whose it is` };
  return arrived(message, { bytes: outer.inner, version: 2, ...around, identifiedAs: outer.clientId });
}

/** The packets that the Connection Encapsulation may have within (3.18). */
const mayBeIdentified: ReadonlySet<string> = new Set([
  ...["publish", "subscribe", "unsubscribe", "register", "disconnect", "sleepreq", "pingreq"],
]);

/** Returns the version of a message: CONNECT says it, and who has connected is known by it. */
function versionIn(bytes: Uint8Array, known: 1 | 2 | undefined): 1 | 2 {
  const type = typeOf(bytes);
  if (type === Type2.connect && bytes.length >= connect2Bytes) return 2;
  if (type === SnType.connect && bytes.length >= connect1Bytes) return 1;
  if (known !== undefined) return known;
  // A stranger's: what may come without a connection, or what is none of 1.2's.
  if (type === Type2.searchgw || type === Type2.pubwos) return decodeMessage2(bytes).kind === "malformed" ? 1 : 2;
  return decodeMessage(bytes).kind === "malformed" ? 2 : 1;
}

function arrived(
  message: SnMessage,
  rest: Pick<Arrived, "bytes" | "node" | "version"> & Partial<Pick<Arrived, "protection" | "counter" | "identifiedAs">>,
): Arrived {
  return { kind: "arrived", message, protection: undefined, counter: undefined, identifiedAs: undefined, ...rest };
}

function typeOf(bytes: Uint8Array): number | undefined {
  return bytes[0] === 1 ? bytes[3] : bytes[1];
}

function lengthOf(bytes: Uint8Array): number {
  return bytes[0] === 1 && bytes.length >= 3 ? readUint16(bytes, 1) : (bytes[0] ?? 0);
}
