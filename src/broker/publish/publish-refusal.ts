/**
 * The refusal of publishes that cannot be taken, for good or for now: a client of MQTT 5 is told, the publish of an
 * older one is tried again for a while before its connection is closed.
 */
import { bankHopeRetryMs } from "../../base/bank-limits.ts";
import { refusedRetryMs } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { type Publish, topicOf } from "../../mqtt/publish.ts";
import { Reason } from "../../mqtt/reason.ts";
import type { AckOutcome } from "../../session/owed-acks.ts";
import type { CreditWait } from "../core/credit-wait.ts";
import { type Connection, PauseReason } from "../delivery/connection.ts";
import type { ClusterContext, ClusterRoute } from "../peers/cluster-context.ts";
import { type Denial, type PublishAdmission, withdraw } from "./publish-admission.ts";
import type { Refusals } from "./refusals.ts";

export interface PublishRefusalParts {
  readonly refusals: Refusals;
  readonly admission: PublishAdmission;
  /** Answers a publish with a reason code. */
  readonly answer: (connection: Connection, publish: Publish, outcome: AckOutcome) => void;
  /** Takes a publish that was refused before, if it can be taken now. */
  readonly attempt: (connection: Connection, publish: Publish, route: ClusterRoute) => void;
  /** Returns true while a message on that topic is on its way to very many receivers. */
  readonly isUnderWay: (route: ClusterRoute) => boolean;
  /** Lets a connection go on that was held for a `PauseReason`. */
  readonly resume: (connection: Connection, reason: number) => void;
}

/** Refuses publishes, and tries them again where that may help. */
export class PublishRefusal {
  readonly #context: ClusterContext;
  readonly #parts: PublishRefusalParts;

  constructor(context: ClusterContext, parts: PublishRefusalParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /**
   * Refuses a publish that is larger than what the store can take: it could not be kept, should it have to be stored.
   */
  refuseLarge(connection: Connection, publish: Publish): void {
    const text = "topic and properties are larger than what the store takes at once";
    this.#parts.refusals.note("size", text, connection.client!.session.clientId, () => topicOf(publish));
    if (connection.channel.version === 5)
      this.#parts.answer(connection, publish, { reason: Reason.quotaExceeded, text });
    else connection.transport.close();
  }

  /**
   * Refuses a publish that could not be stored, should it have to be: it reaches nobody. MQTT 5 clients are told so.
   * Before MQTT 5 there is no such answer, so the client is not read while the publish is tried again for `bankWait`
   * seconds; then its connection is closed, and the client tries again.
   */
  refuse(connection: Connection, publish: Publish, denial: Denial, first: ClusterRoute): void {
    const { options, timers, clock, bankAccount } = this.#context;
    const isTold = connection.channel.version === 5 || publish.qos === 0;
    // A QoS 0 message is not waited for, unless the vault has what is missing here, and leaves it to its user.
    const isScarce = denial.price !== undefined && bankAccount.whyNotHeld(denial.price) === "scarce";
    const isLight = publish.qos === 0 && !publish.retain && (bankAccount.vault === 0 || isScarce);
    if (isTold && (!denial.isHopeful || isLight) && this.#context.coordinator.state === "CONNECTED")
      return this.#deny(connection, publish, denial);
    connection.hold(PauseReason.refused);
    const kept = publish.kept();
    connection.waitingBytes = kept.size;
    kept.packetId = publish.packetId;
    const held: CreditWait = { since: clock.now(), hopeUntil: undefined };
    // Before MQTT 5 it may be that credits come back.
    const giveUpAt = isTold ? held.since : held.since + options.bankWait * 1000;
    const retryMs = isTold ? bankHopeRetryMs : refusedRetryMs;
    const retry = new Timer((now) => {
      if (connection.channel.phase !== "open") return;
      const route = this.#context.router.refresh(first);
      if (this.#parts.isUnderWay(route)) return timers.set(retry, now + retryMs);
      const admission = this.#parts.admission.admit(kept, route, connection.client!);
      if (!("why" in admission)) {
        // The attempt sets aside again what was set aside to see whether it can be.
        withdraw(admission);
        connection.waitingBytes = 0;
        this.#parts.attempt(connection, kept, route);
        return this.#parts.resume(connection, PauseReason.refused);
      }
      // Without the store nobody knows what the bank has.
      const isAway = this.#context.coordinator.state !== "CONNECTED";
      if (now < giveUpAt || isAway || !this.#parts.admission.isFinal(admission, held))
        return timers.set(retry, now + retryMs);
      connection.waitingBytes = 0;
      this.#deny(connection, kept, admission);
      this.#parts.resume(connection, PauseReason.refused);
    });
    timers.set(retry, clock.now() + retryMs);
  }

  /**
   * Tells an MQTT 5 client that its publish is refused; closes the connection of others, so that they try again. A QoS
   * 0 publish is dropped.
   */
  #deny(connection: Connection, publish: Publish, { cause, why }: Denial): void {
    this.#parts.refusals.note(cause, why, connection.client!.session.clientId, () => topicOf(publish));
    if (connection.channel.version === 5 || publish.qos === 0)
      this.#parts.answer(connection, publish, { reason: Reason.quotaExceeded, text: why });
    else connection.transport.close();
  }
}
