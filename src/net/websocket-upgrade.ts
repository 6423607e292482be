/**
 * WebSocket (RFC 6455) over another transport, the client's side, for tools: the upgrade, then frames whose payloads
 * are one stream of bytes. The runtime's own WebSocket (`web-socket-client.ts`, for applications) cannot stop reading,
 * and knows neither proxies nor Unix sockets; this one has all that its transport has.
 */
import { noBytes } from "../base/bytes.ts";
import { OperatingError } from "../base/errors.ts";
import { lingerMs, webSocketFrameBytes, webSocketRequestBytesMax } from "../base/limits.ts";
import { systemRandom } from "../base/random.ts";
import { Over, type Transport, type TransportEvents } from "./transport.ts";
import { acceptOf, FrameError, FrameParser, writeMaskedFrame } from "./websocket-frames.ts";

export interface WebSocketRequest {
  /** The request's path, with its query. */
  readonly path: string;
  /** Headers besides those of the upgrade; one of them may be `Host`. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

export interface UpgradeOptions extends WebSocketRequest {
  /** The server as people read it, such as `ws://host:80/mqtt`. */
  readonly url: string;
  /** The value of the header `Host`. */
  readonly host: string;
  readonly protocol: string;
  /** The names of where a login of HTTP, and the path, are given; the options of the command line unless set. */
  readonly help?: { readonly login: string; readonly path: string };
  /** The time in which the server must have agreed, in ms. */
  readonly handshakeMs: number;
}

/**
 * Returns events for a transport that is dialled, and a promise of their owner, who is opened when the server has
 * agreed to the upgrade. It rejects with `OperatingError` (ECONNECT), but not while the transport is not there.
 */
export function upgradeToWebSocket<Owner>(
  events: TransportEvents<Owner>,
  options: UpgradeOptions,
): { readonly events: TransportEvents<WebSocketClientEnd<Owner>>; readonly opened: Promise<Owner> } {
  const opened = withResolvers<Owner>();
  return {
    opened: opened.promise,
    events: {
      opened: (transport) => new WebSocketClientEnd(transport, events, { options, opened }),
      received: (end, bytes) => end.received(bytes),
      drained: (end) => end.drained(),
      closed: (end, error) => end.closed(error),
    },
  };
}

/** `Promise.withResolvers`, which Node has from 22 on. */
function withResolvers<Value>(): PromiseWithResolvers<Value> {
  let resolve!: (value: Value | PromiseLike<Value>) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<Value>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  return { promise, resolve, reject };
}

const opcodes = { binary: 2, close: 8, ping: 9, pong: 10 } as const;
const normalClosure = Uint8Array.of(1000 >> 8, 1000 & 0xff);
const maskBytes = 4;
const scratch = new Uint8Array(webSocketFrameBytes + 4 + maskBytes);
/** Returns words that help, by the status with which a server has answered instead. */
function helpFor(status: number, { help = { login: "--ws-header", path: "--ws-path" } }: UpgradeOptions): string {
  if (status === 400) return "; does it speak MQTT over WebSocket?";
  if (status === 401 || status === 403) return `; it wants a login of HTTP: ${help.login}`;
  return status === 404 ? `; name its path with ${help.path}` : "";
}

class WebSocketClientEnd<Owner> extends Over {
  readonly #events: TransportEvents<Owner>;
  readonly #options: UpgradeOptions;
  readonly #opened: PromiseWithResolvers<Owner>;
  readonly #key = Buffer.from(systemRandom.hex(16), "hex").toString("base64");
  readonly #limit: ReturnType<typeof setTimeout>;
  readonly #parser = new FrameParser("server");
  /** upgrading: the answer has not come whole. closing: nothing more is read. */
  #state: "upgrading" | "open" | "closing" = "upgrading";
  #owner: { readonly is: Owner } | undefined;
  #answer: Uint8Array = noBytes;
  /** Whole frames, or the request, of which the kernel has taken a part. */
  #ahead: Uint8Array = noBytes;
  /** The answer to the last ping, while it cannot be sent. */
  #pong: Uint8Array | undefined;
  /** The reason why it has ended, where we know better than the transport. */
  #why: string | undefined;

  constructor(
    inner: Transport,
    events: TransportEvents<Owner>,
    { options, opened }: { readonly options: UpgradeOptions; readonly opened: PromiseWithResolvers<Owner> },
  ) {
    super(inner);
    this.#events = events;
    this.#options = options;
    this.#opened = opened;
    this.#limit = setTimeout(() => this.#fail("it does not answer"), options.handshakeMs);
    this.#ahead = Buffer.from(requestOf(options, this.#key));
    this.#writeAhead();
  }

  /** The kernel may take a part of a frame; the rest is kept, and counts as taken. */
  override write(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end && this.#writeAhead()) {
      const count = Math.min(end - at, webSocketFrameBytes);
      this.#sendFrame(opcodes.binary, bytes.subarray(at, at + count));
      at += count;
    }
    return at - start;
  }

  override close(): void {
    if (this.#state === "closing") return;
    this.#leave(normalClosure);
  }

  drained(): void {
    if (!this.#writeAhead()) return;
    if (this.#state === "closing") this.inner.close();
    else if (this.#owner !== undefined) this.#events.drained(this.#owner.is);
  }

  received(bytes: Uint8Array): void {
    if (this.#state === "closing") return;
    if (this.#state === "upgrading") return this.#readAnswer(bytes);
    let length = 0;
    try {
      length = this.#parser.unwrap(bytes, (opcode, payload) => this.#control(opcode, payload));
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      return this.#fail(error.message);
    }
    if (length > 0) this.#events.received(this.#owner!.is, bytes.subarray(0, length));
  }

  closed(error: string | undefined): void {
    clearTimeout(this.#limit);
    this.#state = "closing";
    const why = this.#why ?? error;
    if (this.#owner !== undefined) return this.#events.closed(this.#owner.is, why);
    const said = why ?? "it has hung up; does it speak WebSocket there?";
    this.#opened.reject(new OperatingError("ECONNECT", `cannot connect to ${this.#options.url}: ${said}`));
  }

  #readAnswer(bytes: Uint8Array): void {
    const answer = Buffer.concat([this.#answer, bytes]);
    this.#answer = answer;
    // What is no HTTP at all need not be waited for.
    if (!answer.subarray(0, 5).equals(Buffer.from("HTTP/").subarray(0, answer.length)))
      return this.#fail("what answers does not speak HTTP");
    const end = answer.indexOf("\r\n\r\n");
    if (end === -1 && answer.length <= webSocketRequestBytesMax) return;
    const refusal = end === -1 ? "its answer does not end" : this.#refusalOf(answer.toString("latin1", 0, end));
    if (refusal !== undefined) return this.#fail(refusal);
    clearTimeout(this.#limit);
    this.#answer = noBytes;
    this.#state = "open";
    this.#owner = { is: this.#events.opened(this) };
    this.#opened.resolve(this.#owner.is);
    const rest = answer.subarray(end + 4);
    if (rest.length > 0) this.received(rest);
  }

  /** Returns why an answer is none that agrees (4.1). */
  #refusalOf(head: string): string | undefined {
    const [statusLine = "", ...lines] = head.split("\r\n");
    const [, status, words = ""] = /^HTTP\/1\.1 (\d{3}) ?(.*)$/.exec(statusLine) ?? [];
    if (status === undefined) return "its answer is not HTTP/1.1";
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
      }),
    );
    const to = headers.get("location");
    if (/^3/.test(status) && to !== undefined) return `it says that the broker is at ${to.slice(0, 200)}`;
    if (status !== "101")
      return `it answers ${`${status} ${words}`.trim().slice(0, 80)}${helpFor(Number(status), this.#options)}`;
    const isUpgrade =
      headers.get("upgrade")?.toLowerCase() === "websocket" && /\bupgrade\b/i.test(headers.get("connection") ?? "");
    if (!isUpgrade || headers.get("sec-websocket-accept") !== acceptOf(this.#key))
      return "its answer is not WebSocket's";
    const { protocol } = this.#options;
    const spoken = headers.get("sec-websocket-protocol");
    // Some servers do not say it, though they speak it.
    if (spoken !== undefined && spoken.toLowerCase() !== protocol)
      return `it speaks ${JSON.stringify(spoken.slice(0, 80))}, not ${protocol}`;
    return headers.has("sec-websocket-extensions") ? "it speaks extensions that nobody has asked for" : undefined;
  }

  #control(opcode: number, payload: Uint8Array): void {
    if (opcode === opcodes.ping) {
      // Who pings and does not read is answered once, when it reads again (5.5.2).
      this.#pong = payload;
      this.#writeAhead();
    }
    if (opcode !== opcodes.close) return;
    // What came before it in the same chunk is still to be handed over.
    queueMicrotask(() => {
      if (this.#state === "closing") return;
      const code = payload.length < 2 ? 1005 : (payload[0]! << 8) | payload[1]!;
      this.#why = `the broker closed the connection (WebSocket ${code})`;
      this.#leave(payload.subarray(0, 2));
    });
  }

  /** Says that it is over, after what is still to be sent. */
  #leave(code: Uint8Array): void {
    const isOpen = this.#state === "open";
    this.#state = "closing";
    this.#pong = undefined;
    if (isOpen) {
      const frame = new Uint8Array(2 + maskBytes + code.length);
      writeMaskedFrame(frame, opcodes.close, code, maskOf());
      this.#ahead = Buffer.concat([this.#ahead, frame]);
    }
    if (!isOpen || this.#writeAhead()) return this.inner.close();
    this.inner.resume();
    setTimeout(() => this.inner.abort(), lingerMs).unref();
  }

  #fail(why: string): void {
    this.#why ??= this.#owner === undefined ? why : `WebSocket: ${why}`;
    this.#state = "closing";
    this.inner.abort();
  }

  #sendFrame(opcode: number, payload: Uint8Array): void {
    const length = writeMaskedFrame(scratch, opcode, payload, maskOf());
    const taken = this.inner.write(scratch, 0, length);
    if (taken < length) this.#ahead = scratch.slice(taken, length);
  }

  /** Returns true if the kernel may take more. */
  #writeAhead(): boolean {
    if (this.#ahead.length > 0) {
      const taken = this.inner.write(this.#ahead, 0, this.#ahead.length);
      this.#ahead = this.#ahead.subarray(taken);
      if (this.#ahead.length > 0) return false;
    }
    if (this.#pong === undefined) return true;
    const pong = this.#pong;
    this.#pong = undefined;
    this.#sendFrame(opcodes.pong, pong);
    return this.#ahead.length === 0;
  }
}

/** Returns a mask: nobody can choose how the bytes of a frame look on the way (10.3). */
function maskOf(): Uint8Array {
  return Buffer.from(systemRandom.hex(maskBytes), "hex");
}

function requestOf({ path, host, headers, protocol }: UpgradeOptions, key: string): string {
  const own = headers.some(([name]) => name.toLowerCase() === "host") ? [] : [`Host: ${host}`];
  return [
    `GET ${path} HTTP/1.1`,
    ...own,
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Key: ${key}`,
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Protocol: ${protocol}`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
    "\r\n",
  ].join("\r\n");
}
