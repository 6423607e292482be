/** The parts of the broker that let a client in. */

import type { Connection } from "../delivery/connection.ts";
import type { StoreBackPressure } from "../delivery/store-back-pressure.ts";
import type { MailDrops } from "../drops/mail-drops.ts";
import type { SessionRegistry } from "../peers/session-registry.ts";
import type { SubscriptionDirectory } from "../peers/subscription-directory.ts";
import type { Admission } from "./admission.ts";
import type { ConnectionEnd } from "./connection-end.ts";
import type { EndedSessions } from "./ended-sessions.ts";
import type { OrphanedWills } from "./orphaned-wills.ts";
import type { SessionStore } from "./session-store.ts";
import type { TakeOver } from "./take-over.ts";
import type { Wills } from "./wills.ts";

export interface ConnectParts {
  readonly connectionEnd: ConnectionEnd;
  readonly sessionStore: SessionStore;
  readonly admission: Admission;
  readonly wills: Wills;
  readonly orphanedWills: OrphanedWills;
  readonly takeOver: TakeOver;
  readonly endedSessions: EndedSessions;
  readonly registry: SessionRegistry;
  readonly directory: SubscriptionDirectory;
  readonly drops: MailDrops;
  readonly storeBackPressure: StoreBackPressure;
  readonly resume: (connection: Connection, reason: number) => void;
}
