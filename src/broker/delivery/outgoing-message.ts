/** A message on its way to one client: in its window of packet ids, or waiting for room in it. */

import { groupMarkOf } from "../../mail/records.ts";
import type { LiveRecipient, Settlement } from "../../mail/settlement.ts";
import type { Slip, SlipDraft } from "../../mail/slips.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { MessageTrace } from "../../mqtt/message-trace.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { SharedGroup, Target } from "../../router/router.ts";
import type { Takes } from "../../session/inflight.ts";
import type { LocalSession } from "./local-session.ts";
import { tellStored } from "./wire-tap.ts";

/** How far a message has come with its client. */
type Exchange =
  /** The message waits, or its PUBLISH has been sent in this connection. */
  | "open"
  /** PUBREC has come, so only PUBREL and PUBCOMP are left. */
  | "released"
  /**
   * As "released", and its PUBLISH was sent in an earlier connection, or never will be: no room of this one's window is
   * taken.
   */
  | "released before"
  /** PUBACK or PUBCOMP has come. */
  | "acknowledged";

/** Whether the settlement of its publish still waits for a message. */
type Obligation =
  /** The settlement waits until the client has acknowledged the message, or its slip is on its way into the store. */
  | "open"
  /** The message was sent, and its slip is being committed: the commit ends the wait, whatever the client does. */
  | "storing"
  /** The settlement does not wait: the client has the message, or the store, or another receiver. */
  | "kept";

/** A message for one session. All changes of its state are made here, and asked for by methods. */
export class OutgoingMessage implements LiveRecipient {
  readonly client: LocalSession | undefined;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  readonly group: SharedGroup<unknown> | undefined;
  /** The message itself, kept as long as it may have to be sent again. */
  publish: Publish | undefined;
  packetId = 0;
  /** The trace that is told of its acknowledgement; undefined: it is not traced. */
  trace: MessageTrace | undefined;
  #exchange: Exchange = "open";
  #obligation: Obligation = "open";
  #settlement: Settlement | undefined;
  #slip: Slip | undefined;

  /**
   * Creates a message for a client, or without one as a placeholder in its window. `settlement` waits for it from now
   * on.
   */
  constructor(
    client: LocalSession | undefined,
    target: OutgoingTarget,
    publish: Publish | undefined,
    settlement?: Settlement,
  ) {
    this.client = client;
    this.qos = target.qos;
    this.retain = target.retain;
    this.subscriptionIds = target.subscriptionIds;
    this.group = target.group;
    this.publish = publish;
    this.#settlement = settlement;
    settlement?.waitFor(this);
  }

  /** The settlement of its publish; undefined: none waits for this message. */
  get settlement(): Settlement | undefined {
    return this.#settlement;
  }

  /** The message's slip in the mailbox; undefined: it has none yet. */
  get slip(): Slip | undefined {
    return this.#slip;
  }

  /** True if no settlement waits for the message any more: its client has acknowledged it, or it is kept otherwise. */
  get isTakenCareOf(): boolean {
    return this.#obligation !== "open";
  }

  /** True if PUBACK or PUBCOMP has come. */
  get isAcknowledged(): boolean {
    return this.#exchange === "acknowledged";
  }

  /** True if PUBREC has come, and PUBCOMP has not. */
  get isReleased(): boolean {
    return this.#exchange === "released" || this.#exchange === "released before";
  }

  /** True if the message takes no room in the window: no PUBLISH of it is unacknowledged in this connection. */
  get onlyHoldsId(): boolean {
    return this.#exchange === "released before";
  }

  /** True while the slip of a message that was sent is being committed: its packet id is not free before that. */
  get isBeingStored(): boolean {
    return this.#obligation === "storing";
  }

  /** Notes that PUBREC has come. */
  release(): void {
    this.#exchange = "released";
  }

  /** Notes that PUBACK or PUBCOMP has come, and tells the settlement. */
  acknowledge(): void {
    this.#exchange = "acknowledged";
    this.trace?.acknowledged(this.client!.session.clientId);
    if (this.#settlement !== undefined) this.takenCareOf(this.#settlement);
  }

  /**
   * Ends the wait for a message that another receiver has, or that nobody will get; tells `settlement`, if it is given.
   */
  takenCareOf(settlement?: Settlement): void {
    if (this.isTakenCareOf) return;
    this.#obligation = "kept";
    settlement?.done();
  }

  /** Hands the settlement over to the caller, who stores the message and ends the settlement. */
  takeSettlement(): Settlement {
    const settlement = this.#settlement!;
    this.#settlement = undefined;
    return settlement;
  }

  /** Returns the slip's draft for a message that was not sent; the mailbox counts the slip from now on. */
  draftUnsent(): SlipDraft {
    this.#obligation = "kept";
    return this.#draft();
  }

  /**
   * Returns the slip's draft for a message that was sent and is not acknowledged; the mailbox counts it from now on.
   */
  draft(): SlipDraft {
    this.#obligation = "storing";
    return this.#draft();
  }

  #draft(): SlipDraft {
    const { qos, retain, subscriptionIds, packetId, group } = this;
    this.client!.mailbox!.expect();
    const groupMark = groupMarkOf(group?.text);
    return { clientId: this.client!.session.clientId, qos, retain, subscriptionIds, packetId, groupMark };
  }

  /** Sets the message's slip, whose commit is under way, or that was read from the mailbox. */
  placed(slip: Slip): void {
    this.#slip = slip;
    this.#obligation = "kept";
  }

  /**
   * Sets slip and packet id of a message from an earlier connection of which only PUBREL and PUBCOMP are left: PUBREC
   * has come, or the message was given up.
   */
  resumed(slip: Slip, packetId: number): void {
    this.placed(slip);
    this.packetId = packetId;
    this.#exchange = "released before";
  }

  /**
   * Sets the slip, which is committed. If its client has acknowledged the message meanwhile, the slip is removed again.
   */
  stored(slip: Slip): void {
    this.placed(slip);
    const { trace } = this.client!.context;
    if (trace.isOn && this.publish !== undefined) tellStored(trace, this.publish, [this.client!.session.clientId]);
    // From here on the store holds the message.
    slip.publish = undefined;
    const isPlaced = this.isAcknowledged || this.client!.isInFlight(this);
    this.client!.mailbox!.arrived(slip, isPlaced ? "placed" : "elsewhere");
    if (this.isAcknowledged) this.client!.storedTooLate(this, slip);
  }
}

/**
 * How a message is sent to one receiver: QoS, RETAIN, Subscription Identifiers, and the group of a shared subscription.
 */
export interface OutgoingTarget extends Pick<Target<LocalSession>, "qos" | "subscriptionIds"> {
  readonly group: SharedGroup<unknown> | undefined;
  readonly retain: boolean;
}

const nothing: OutgoingTarget = { qos: 1, retain: false, subscriptionIds: [], group: undefined };

/**
 * Entries in windows for messages that need not be kept: their session ends with its connection, so they are never sent
 * again. One object each serves all windows.
 */
export const plainQoS1 = new OutgoingMessage(undefined, nothing, undefined);
export const plainQoS2 = new OutgoingMessage(undefined, { ...nothing, qos: 2 }, undefined);
export const plainReleased = new OutgoingMessage(undefined, { ...nothing, qos: 2 }, undefined);
plainReleased.release();

/** The entry that holds the packet id of a message in the mailbox that will be sent again under it. */
export const reserved = new OutgoingMessage(undefined, nothing, undefined);

/** Returns what an entry takes of the window. */
export function takesOf(outgoing: OutgoingMessage): Takes {
  if (outgoing === reserved) return "place";
  if (outgoing.onlyHoldsId) return "id";
  return outgoing.qos === 2 ? "exchange" : "room";
}

/** Compares messages by the order of their publishes. */
export function bySettlement(a: OutgoingMessage, b: OutgoingMessage): number {
  return (a.settlement?.order ?? 0) - (b.settlement?.order ?? 0);
}
