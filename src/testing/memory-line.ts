/** A line between a client and a broker in one process: bytes arrive in a later step of the event loop, as copies. */
import type { Transport, TransportEvents } from "../net/transport.ts";

/** The broker's end. */
export interface LineEnd {
  /** Gives bytes to the client. */
  send(bytes: Uint8Array): void;
  /** Ends the connection, when what was sent before has arrived. */
  close(): void;
}

/** The broker's side of the events. */
export interface LineOwner {
  received(bytes: Uint8Array): void;
  /** The client has gone. */
  closed(): void;
}

/** Opens a line; `accept` is given the broker's end. Returns whatever the client's `opened` returns. */
export function openLine<Owner>(events: TransportEvents<Owner>, accept: (end: LineEnd) => LineOwner): Owner {
  let isOpen = true;
  let client!: Owner;
  const soon = (run: () => void): void => queueMicrotask(() => isOpen && run());
  const close = (run: () => void): void =>
    soon(() => {
      isOpen = false;
      run();
    });
  const owner = accept({
    send: (bytes) => {
      const copy = bytes.slice();
      soon(() => events.received(client, copy));
    },
    close: () => close(() => events.closed(client, undefined)),
  });
  const hangUp = (): void => close(() => owner.closed());
  const transport: Transport = {
    ...{ remote: "a broker in memory", address: "", certificate: undefined },
    write(bytes, start, end) {
      const copy = Uint8Array.prototype.slice.call(bytes, start, end);
      soon(() => owner.received(copy));
      return end - start;
    },
    pause() {},
    resume() {},
    close: hangUp,
    abort: hangUp,
  };
  client = events.opened(transport);
  return client;
}
