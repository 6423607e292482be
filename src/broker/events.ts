/** The events that come to a broker from outside, all of which go through the switch in `broker.ts`. */
import type { Publish } from "../mqtt/publish.ts";
import type { SweepRefusal } from "./cluster/sweeper.ts";
import type { Connection } from "./delivery/connection.ts";
import type { LocalSession } from "./delivery/local-session.ts";
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
  /** The operator publishes. `done` is called when it is settled, or with the reason why it was refused. */
  | { readonly kind: "publish"; readonly publish: Publish; readonly done: (why: string | undefined) => void }
  /** The operator ends a session that this broker keeps. `done` is called when nothing is left of it. */
  | { readonly kind: "endSession"; readonly session: LocalSession; readonly done: () => void }
  /** The operator has what has outlived its time removed now. `done` is told why that does not begin here. */
  | { readonly kind: "sweep"; readonly done: (why: SweepRefusal | undefined) => void }
  /** Clients are sent to other brokers. `done` is called when none is left. */
  | { readonly kind: "drain"; readonly done: () => void }
  /** The broker leaves the tree. `done` is called when all that it has announced there is removed, or time is up. */
  | { readonly kind: "shutdown"; readonly done: () => void };
