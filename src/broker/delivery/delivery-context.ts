/** The runtime, with the parts that bring messages to clients: what is stored for clients, and what pays for it. */
import type { Journal } from "../../mail/journal.ts";
import type { Mail } from "../../mail/mail.ts";
import type { Settlements } from "../../mail/settlement.ts";
import type { Slips } from "../../mail/slips.ts";
import type { RetainedMessages } from "../../router/retained.ts";
import type { BankAccount } from "../core/bank-account.ts";
import type { Runtime } from "../core/runtime.ts";
import type { LocalSession } from "./local-session.ts";
import type { MailboxGauge } from "./mailbox-gauge.ts";

/** The parts of a broker that deliver messages. `ClusterContext` adds sessions, peers and the router. */
export interface DeliveryContext extends Runtime {
  readonly journal: Journal;
  readonly mail: Mail;
  readonly slips: Slips;
  readonly settlements: Settlements;
  readonly bankAccount: BankAccount;
  readonly retained: RetainedMessages;
  /** How full mailboxes are. */
  readonly mailboxes: MailboxGauge;
  /** Drops a session in whose name the store has refused to write, since another broker keeps it now. */
  readonly evict: (session: LocalSession) => void;
}
