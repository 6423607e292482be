/** What comes to a broker from outside: the one switch through which every input goes is in `broker.ts`. */
import type { Connection } from "./delivery/connection.ts";
import type { LinkConnection } from "./peers/link-connection.ts";

/** Everything that can happen to a broker. What the store answers comes back through `Coordinator`'s callbacks. */
export type BrokerEvent =
  | { readonly kind: "opened"; readonly connection: Connection }
  | { readonly kind: "received"; readonly connection: Connection; readonly bytes: Uint8Array }
  | { readonly kind: "drained"; readonly connection: Connection }
  | { readonly kind: "closed"; readonly connection: Connection; readonly why: string | undefined }
  | { readonly kind: "linkOpened"; readonly connection: LinkConnection }
  | { readonly kind: "linkReceived"; readonly connection: LinkConnection; readonly bytes: Uint8Array }
  | { readonly kind: "linkDrained"; readonly connection: LinkConnection }
  | { readonly kind: "linkClosed"; readonly connection: LinkConnection; readonly why: string | undefined }
  | { readonly kind: "tick" }
  /** Who may do what has changed. */
  | { readonly kind: "accessChanged" }
  /** Clients are sent to other brokers; `done`: nobody is here any more. */
  | { readonly kind: "drain"; readonly done: () => void }
  /** The broker leaves the tree; `done`: with all that it has announced there, as far as there is time. */
  | { readonly kind: "shutdown"; readonly done: () => void };
