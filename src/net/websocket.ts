/**
 * WebSocket (RFC 6455) over another transport, the server's side: the upgrade, then frames whose payloads are one
 * stream of bytes to whoever owns the connection. No extensions. Back-pressure reaches the peer, which Bun's own server
 * could not do.
 */
import { noBytes } from "../base/bytes.ts";
import { webSocketFrameBytes, webSocketRequestBytesMax } from "../base/limits.ts";
import { Over, type Transport, type TransportEvents } from "./transport.ts";
import { acceptOf, FrameError, FrameParser, writeFrameHead } from "./websocket-frames.ts";

export interface WebSocketOptions {
  /** Request paths that are served. */
  readonly paths: readonly string[];
  /** Subprotocols that are spoken, in order of preference [RFC 6455 1.9]. */
  readonly protocols: readonly string[];
}

/** Reads WebSocket from another transport's connections, and writes it. */
export function overWebSocket<Owner>(
  events: TransportEvents<Owner>,
  options: WebSocketOptions,
): TransportEvents<WebSocketEnd<Owner>> {
  return {
    opened: (transport) => new WebSocketEnd(transport, events, options),
    received: (end, bytes) => end.received(bytes),
    drained: (end) => end.drained(),
    closed: (end, error) => events.closed(end.owner, end.error ?? error),
  };
}

const opcodes = { binary: 2, close: 8, ping: 9, pong: 10 } as const;
/** Status codes of close frames (7.4.1). */
const closeCodes = { normal: 1000, protocolError: 1002, wrongData: 1003 } as const;

/** One frame's head and as much of its payload as fits, so that small ones leave in one write. */
const scratch = new Uint8Array(webSocketFrameBytes + 4);

export class WebSocketEnd<Owner> extends Over {
  readonly owner: Owner;
  /** The peer's fault, in words. */
  error: string | undefined;
  readonly #events: TransportEvents<Owner>;
  readonly #options: WebSocketOptions;
  /** upgrading: the request has not come whole. closing: nothing more is read. */
  #state: "upgrading" | "open" | "closing" = "upgrading";
  #request: Uint8Array = noBytes;
  readonly #parser = new FrameParser();
  /** Bytes of the frame that is being written which its writer has not handed over yet. */
  #frameLeft = 0;
  /** Bytes that must go before anything else: the rest of a head, pongs between frames, an answer to the upgrade. */
  #ahead: Uint8Array = noBytes;
  /** Control frames that wait for the end of the frame. */
  #afterFrame: Uint8Array[] = [];

  constructor(inner: Transport, events: TransportEvents<Owner>, options: WebSocketOptions) {
    super(inner);
    this.#events = events;
    this.#options = options;
    this.owner = events.opened(this);
  }

  override close(): void {
    if (this.#state === "open" && this.#frameLeft === 0) this.#sendControl(opcodes.close, closeCode(closeCodes.normal));
    this.#state = "closing";
    this.inner.close();
  }

  override write(bytes: Uint8Array, start: number, end: number): number {
    if (!this.#writeAhead()) return 0;
    let at = start;
    while (at < end) {
      const before = at;
      at = this.#frameLeft === 0 ? this.#beginFrame(bytes, at, end) : this.#goOn(bytes, at, end);
      const isBlocked = at === before || this.#frameLeft > 0;
      if (isBlocked || !this.#endFrame()) break;
    }
    return at - start;
  }

  drained(): void {
    if (this.#writeAhead()) this.#events.drained(this.owner);
  }

  received(bytes: Uint8Array): void {
    if (this.#state === "closing") return;
    if (this.#state === "upgrading") return this.#readRequest(bytes);
    const parser = this.#parser;
    let length = 0;
    try {
      length = parser.unwrap(bytes, (opcode, payload) => this.#control(opcode, payload));
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#end(error.isWrongData ? closeCodes.wrongData : closeCodes.protocolError, error.message);
      return;
    }
    if (length > 0) this.#events.received(this.owner, bytes.subarray(0, length));
  }

  #control(opcode: number, payload: Uint8Array): void {
    if (opcode === opcodes.ping) return this.#sendControl(opcodes.pong, payload);
    if (opcode !== opcodes.close) return;
    // What came before it in the same chunk is still to be handed over.
    queueMicrotask(() => {
      if (this.#state === "closing") return;
      if (this.#frameLeft === 0) this.#sendControl(opcodes.close, payload.subarray(0, 2));
      this.#state = "closing";
      this.inner.close();
    });
  }

  #end(code: number, why: string): void {
    this.error = `WebSocket: ${why}`;
    if (this.#frameLeft === 0) this.#sendControl(opcodes.close, closeCode(code));
    this.#state = "closing";
    this.inner.close();
  }

  /** Head and first payload bytes of a frame for all there is; returns how far the payload has gone. */
  #beginFrame(bytes: Uint8Array, start: number, end: number): number {
    const count = Math.min(end - start, webSocketFrameBytes);
    const head = writeFrameHead(scratch, opcodes.binary, count);
    scratch.set(bytes.subarray(start, start + count), head);
    const taken = this.inner.write(scratch, 0, head + count);
    if (taken === 0) return start;
    if (taken < head) this.#ahead = scratch.slice(taken, head);
    const sent = Math.max(0, taken - head);
    this.#frameLeft = count - sent;
    return start + sent;
  }

  #goOn(bytes: Uint8Array, start: number, end: number): number {
    const taken = this.inner.write(bytes, start, Math.min(end, start + this.#frameLeft));
    this.#frameLeft -= taken;
    return start + taken;
  }

  /** Between frames: control frames have their turn. False: the kernel takes no more. */
  #endFrame(): boolean {
    if (this.#afterFrame.length === 0) return true;
    this.#ahead = Buffer.concat(this.#afterFrame);
    this.#afterFrame = [];
    return this.#writeAhead();
  }

  #writeAhead(): boolean {
    if (this.#ahead.length === 0) return true;
    const taken = this.inner.write(this.#ahead, 0, this.#ahead.length);
    this.#ahead = this.#ahead.subarray(taken);
    return this.#ahead.length === 0;
  }

  #sendControl(opcode: number, payload: Uint8Array): void {
    const frame = new Uint8Array(2 + payload.length);
    writeFrameHead(frame, opcode, payload.length);
    frame.set(payload, 2);
    if (this.#frameLeft > 0 || this.#ahead.length > 0) {
      // A peer that pings and does not read is answered once, when it reads again (5.5.2).
      this.#afterFrame = [frame];
      return;
    }
    this.#ahead = frame;
    this.#writeAhead();
  }

  #readRequest(bytes: Uint8Array): void {
    this.#request = this.#request.length === 0 ? bytes : Buffer.concat([this.#request, bytes]);
    const end = Buffer.from(this.#request.buffer, this.#request.byteOffset, this.#request.length).indexOf("\r\n\r\n");
    if (end === -1) {
      if (this.#request.length > webSocketRequestBytesMax)
        this.#refuse("431 Request Header Fields Too Large", "too long");
      return;
    }
    const answer = answerUpgrade(Buffer.from(this.#request.subarray(0, end)).toString("latin1"), this.#options);
    if ("status" in answer) return this.#refuse(answer.status, answer.why);
    const rest = this.#request.subarray(end + 4);
    this.#request = noBytes;
    this.#state = "open";
    this.#ahead = Buffer.from(answer.response, "latin1");
    this.#writeAhead();
    if (rest.length > 0) this.received(rest);
  }

  #refuse(status: string, why: string): void {
    this.error = `WebSocket: no upgrade: ${why}`;
    this.#request = noBytes;
    this.#state = "closing";
    const version = status.startsWith("426") ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" : "";
    const head = `HTTP/1.1 ${status}\r\n${version}Connection: close\r\nContent-Type: text/plain\r\n`;
    const body = `${why}\n`;
    this.#ahead = Buffer.from(`${head}Content-Length: ${body.length}\r\n\r\n${body}`, "latin1");
    this.#writeAhead();
    this.inner.close();
  }
}

function closeCode(code: number): Uint8Array {
  return Uint8Array.of(code >> 8, code & 0xff);
}

type Upgrade = { readonly response: string } | { readonly status: string; readonly why: string };

/** The answer to an upgrade (4.2.1), or why there is none. */
function answerUpgrade(head: string, { paths, protocols }: WebSocketOptions): Upgrade {
  const [requestLine = "", ...lines] = head.split("\r\n");
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon < 1) return { status: "400 Bad Request", why: "a header without a colon" };
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers.set(name, headers.has(name) ? `${headers.get(name)}, ${value}` : value);
  }
  const [method, target = "", version] = requestLine.split(" ");
  if (version !== "HTTP/1.1") return { status: "400 Bad Request", why: "not an HTTP/1.1 request" };
  if (method !== "GET") return { status: "405 Method Not Allowed", why: "only GET" };
  const path = target.split("?", 1)[0]!;
  if (!paths.includes(path)) return { status: "404 Not Found", why: `MQTT over WebSocket is at ${paths[0]}` };
  if (!hasToken(headers.get("upgrade"), "websocket") || !hasToken(headers.get("connection"), "upgrade"))
    return { status: "426 Upgrade Required", why: "this is MQTT over WebSocket" };
  if (headers.get("sec-websocket-version") !== "13")
    return { status: "426 Upgrade Required", why: "only version 13 of WebSocket" };
  const key = headers.get("sec-websocket-key") ?? "";
  if (!/^[A-Za-z0-9+/]{22}==$/.test(key)) return { status: "400 Bad Request", why: "no Sec-WebSocket-Key" };
  const offered = headers.get("sec-websocket-protocol");
  const protocol = protocols.find((name) => hasToken(offered, name));
  if (protocol === undefined)
    return { status: "400 Bad Request", why: `the subprotocol must be ${protocols[0]} [MQTT-6.0.0-3]` };
  const response = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(key)}\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`;
  return { response };
}

function hasToken(list: string | undefined, token: string): boolean {
  return list?.split(",").some((part) => part.trim().toLowerCase() === token.toLowerCase()) ?? false;
}
