/** A CONNECT on its way to its session: its client has logged in, and its client id is this broker's. */
import { logTextMax } from "../../base/limits.ts";
import type { Runtime } from "../core/runtime.ts";
import type { Connection } from "../delivery/connection.ts";
import type { LocalSession } from "../delivery/local-session.ts";
import type { Login } from "./admission.ts";
import type { ConnectPayment } from "./connect-payment.ts";
import type { ConnectRequest } from "./connect-request.ts";
import type { Grant } from "./take-over.ts";

/** A CONNECT of a client that has logged in. */
export interface AuthenticatedRequest extends ConnectRequest {
  readonly login: Login;
  /** The Reason String of its CONNACK: what it has not been granted; undefined: there is nothing to say. */
  readonly notice?: string;
}

/** A CONNECT whose client id has been granted to this broker by the others. */
export interface GrantedRequest extends AuthenticatedRequest, Grant {
  /** How often this broker had been fenced when it claimed the client id: after that all of it is void. */
  readonly fences: number;
}

/** Returns true if a found session must end: CONNECT says so, it has expired, or its client takes another for it. */
export function startsAnew(found: LocalSession, { packet }: AuthenticatedRequest): boolean {
  return packet.clean === true || found.isOver || found.isUntold;
}

/** A CONNECT that is paid for. */
export interface PaidRequest extends GrantedRequest {
  readonly payment: ConnectPayment;
}

/** A connection whose CONNACK waits, and who its client is. */
export interface Pending {
  readonly connection: Connection;
  readonly user: string;
}

/** The session that was found for a CONNECT, and how often it may still be looked for anew. */
export interface Obtaining {
  readonly client: LocalSession | undefined;
  /** The session that takes the place of one that has ended just now. */
  readonly successor: LocalSession | undefined;
  readonly tries: number;
}

/** The CONNECT that is let in. */
export interface Opening {
  readonly request: AuthenticatedRequest;
  readonly sessionPresent: boolean;
}

/** Tells the log, and whoever watches, that a client is connected. */
export function tellConnected({ session: { clientId }, user, connection }: LocalSession, context: Runtime): void {
  const { log, events, trace } = context;
  const { remote, address } = connection!.transport;
  log.debug({ remote, client: clientId.slice(0, logTextMax) }, "client connected");
  if (events.isWatched) events.tell({ kind: "connected", clientId, user, remote, reason: "" });
  if (trace.isOn)
    trace.tell({ kind: "connected", subject: { clientId, user, address }, text: () => `connected from ${remote}` });
}
