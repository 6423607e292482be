/** A CONNECT on its way to its session: its client has logged in, and its client id is this broker's. */
import type { LocalSession } from "../delivery/local-session.ts";
import type { Login } from "./admission.ts";
import type { ConnectRequest } from "./connect-request.ts";
import type { Grant } from "./take-over.ts";

/** A CONNECT of a client that has logged in. */
export interface AuthenticatedRequest extends ConnectRequest {
  readonly login: Login;
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
