/** The events that come to a broker from outside, all of which go through the switch in `broker.ts`. */
import type { Connection } from "./delivery/connection.ts";
import type { LinkConnection } from "./peers/link-connection.ts";

/** Everything that can happen to a broker. Answers of the store come back through `Coordinator`'s callbacks. */
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
  /** Users or rules have changed. */
  | { readonly kind: "accessChanged" }
  /** Clients are sent to other brokers. `done` is called when none is left. */
  | { readonly kind: "drain"; readonly done: () => void }
  /** The broker leaves the tree. `done` is called when all that it has announced there is removed, or time is up. */
  | { readonly kind: "shutdown"; readonly done: () => void };
