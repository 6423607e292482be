/** MQTT over a WebSocket that the runtime has: browsers, Bun, Node from 22 on. */
import { OperatingError } from "../base/errors.ts";
import { outputBytesHigh, outputBytesLow, webSocketDrainCheckMs } from "../base/limits.ts";
import type { Transport, TransportEvents } from "./transport.ts";

class WebSocketTransport<Owner> implements Transport {
  readonly remote: string;
  readonly address = "";
  readonly certificate = undefined;
  readonly #socket: WebSocket;
  readonly #events: TransportEvents<Owner>;
  #owner!: Owner;
  #drainCheck: ReturnType<typeof setInterval> | undefined;

  constructor(socket: WebSocket, events: TransportEvents<Owner>) {
    this.#socket = socket;
    this.#events = events;
    this.remote = socket.url;
  }

  open(): Owner {
    this.#owner = this.#events.opened(this);
    return this.#owner;
  }

  received(bytes: Uint8Array): void {
    this.#events.received(this.#owner, bytes);
  }

  closed(why: string | undefined): void {
    clearInterval(this.#drainCheck);
    this.#events.closed(this.#owner, why);
  }

  /** A WebSocket takes everything and says only how much it has: what is too much waits here. */
  write(bytes: Uint8Array, start: number, end: number): number {
    if (this.#socket.readyState !== this.#socket.OPEN) return 0;
    if (this.#socket.bufferedAmount > outputBytesHigh) {
      this.#drainCheck ??= setInterval(() => this.#checkDrained(), webSocketDrainCheckMs);
      return 0;
    }
    this.#socket.send(bytes.slice(start, end));
    return end - start;
  }

  /** Does nothing: browsers give no way to hold back what comes. */
  pause(): void {}

  resume(): void {}

  close(): void {
    this.#socket.close();
  }

  abort(): void {
    this.#socket.close();
  }

  #checkDrained(): void {
    if (this.#socket.bufferedAmount > outputBytesLow) return;
    clearInterval(this.#drainCheck);
    this.#drainCheck = undefined;
    this.#events.drained(this.#owner);
  }
}

/** Rejects with `OperatingError`. */
export function dialWebSocket<Owner>(url: string, events: TransportEvents<Owner>): Promise<Owner> {
  if (typeof WebSocket === "undefined")
    return Promise.reject(
      new OperatingError("ECONNECT", `${url}: this runtime has no WebSocket (Node has it from 22 on): use mqtt://`),
    );
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, "mqtt");
    socket.binaryType = "arraybuffer";
    let transport: WebSocketTransport<Owner> | undefined;
    socket.onopen = () => {
      transport = new WebSocketTransport(socket, events);
      resolve(transport.open());
    };
    socket.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => transport?.received(new Uint8Array(data));
    socket.onclose = ({ code, reason }) => {
      reject(new OperatingError("ECONNECT", `cannot connect to ${url}${reason ? `: ${reason}` : ""}`));
      transport?.closed(code === 1000 ? undefined : `the connection was closed (WebSocket ${code})`);
    };
  });
}
