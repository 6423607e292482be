/** A message on its way to one client: in its window, or waiting for room in it. */

import { groupMarkOf } from "../../mail/records.ts";
import type { LiveRecipient, Settlement } from "../../mail/settlement.ts";
import type { Slip, SlipDraft } from "../../mail/slips.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { SharedGroup, Target } from "../../router/router.ts";
import type { LocalSession } from "./local-session.ts";

/** How far a message has come with its client. */
type Exchange =
  /** It waits, or its PUBLISH has been sent in this connection. */
  | "open"
  /** PUBREC has come: only PUBREL and PUBCOMP are left. */
  | "released"
  /** The same, and its PUBLISH was sent in an earlier connection, or never will be: it takes no room in this one's window. */
  | "released before"
  /** PUBACK or PUBCOMP has come. */
  | "acknowledged";

/** Whether its publisher's settlement still has to wait for it. */
type Obligation =
  /** Until the client has acknowledged it, or its slip is on its way into the store. */
  | "open"
  /** It was sent, and its slip is being committed: that ends the wait, whatever the client does. */
  | "storing"
  /** The client has it, its slip does, or another receiver. */
  | "kept";

export class OutgoingMessage implements LiveRecipient {
  readonly client: LocalSession | undefined;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  readonly group: SharedGroup<unknown> | undefined;
  /** Kept as long as it may have to be sent again. */
  publish: Publish | undefined;
  packetId = 0;
  #exchange: Exchange = "open";
  #obligation: Obligation = "open";
  #settlement: Settlement | undefined;
  #slip: Slip | undefined;

  /** `settlement`: waits for it from now on; undefined: nobody does, or not yet. */
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

  get settlement(): Settlement | undefined {
    return this.#settlement;
  }

  /** What stands for it in the mailbox; undefined: nothing yet. */
  get slip(): Slip | undefined {
    return this.#slip;
  }

  /** True if its client has acknowledged it, or something else stands for it: no settlement waits for it any more. */
  get isTakenCareOf(): boolean {
    return this.#obligation !== "open";
  }

  get isAcknowledged(): boolean {
    return this.#exchange === "acknowledged";
  }

  /** True if PUBREC has come, and PUBCOMP has not. */
  get isReleased(): boolean {
    return this.#exchange === "released" || this.#exchange === "released before";
  }

  /** True if it takes no room in the window: no PUBLISH of it is unacknowledged in this connection. */
  get onlyHoldsId(): boolean {
    return this.#exchange === "released before";
  }

  /** True while its slip is on its way into the store after it was sent: until then its packet id is not free. */
  get isBeingStored(): boolean {
    return this.#obligation === "storing";
  }

  /** PUBREC has come. */
  release(): void {
    this.#exchange = "released";
  }

  /** PUBACK or PUBCOMP has come, which its settlement may have waited for. */
  acknowledge(): void {
    this.#exchange = "acknowledged";
    if (this.#settlement !== undefined) this.takenCareOf(this.#settlement);
  }

  /** Another receiver has it, or nobody will: what waits for it, if anything, need not do so any more. */
  takenCareOf(settlement?: Settlement): void {
    if (this.isTakenCareOf) return;
    this.#obligation = "kept";
    settlement?.done();
  }

  /** It goes into the mailbox on its own: the settlement is the caller's from now on. */
  takeSettlement(): Settlement {
    const settlement = this.#settlement!;
    this.#settlement = undefined;
    return settlement;
  }

  /** What its slip will say, if it was not sent; the mailbox counts it from now on. */
  draftUnsent(): SlipDraft {
    this.#obligation = "kept";
    return this.#draft();
  }

  /** The same, of one that was sent and is not acknowledged. */
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

  /** The draft has become a slip, whose commit is under way; or it was read from the mailbox, where it has one. */
  placed(slip: Slip): void {
    this.#slip = slip;
    this.#obligation = "kept";
  }

  /** It was read from the mailbox, and its client has sent PUBREC in an earlier connection, or is to give it up. */
  resumed(slip: Slip, packetId: number): void {
    this.placed(slip);
    this.packetId = packetId;
    this.#exchange = "released before";
  }

  stored(slip: Slip): void {
    this.placed(slip);
    // From here on the store holds the message.
    slip.publish = undefined;
    const isPlaced = this.isAcknowledged || this.client!.isInFlight(this);
    this.client!.mailbox!.arrived(slip, isPlaced ? "placed" : "elsewhere");
    if (this.isAcknowledged) this.client!.storedTooLate(this, slip);
  }
}

export interface OutgoingTarget extends Pick<Target<LocalSession>, "qos" | "subscriptionIds"> {
  readonly group: SharedGroup<unknown> | undefined;
  readonly retain: boolean;
}

const nothing: OutgoingTarget = { qos: 1, retain: false, subscriptionIds: [], group: undefined };

/**
 * Entries for messages that need not be kept: their session ends with its connection, so they are never sent
 * again. One object each serves all windows.
 */
export const plainQoS1 = new OutgoingMessage(undefined, nothing, undefined);
export const plainQoS2 = new OutgoingMessage(undefined, { ...nothing, qos: 2 }, undefined);
export const plainReleased = new OutgoingMessage(undefined, { ...nothing, qos: 2 }, undefined);
plainReleased.release();

/** Holds the packet id of a message that is in the mailbox and will be sent again under it. */
export const reserved = new OutgoingMessage(undefined, nothing, undefined);

/** True for what takes no room in the window. */
export function onlyHoldsId(outgoing: OutgoingMessage): boolean {
  return outgoing === reserved || outgoing.onlyHoldsId;
}

/** In the order of the publishes. */
export function bySettlement(a: OutgoingMessage, b: OutgoingMessage): number {
  return (a.settlement?.order ?? 0) - (b.settlement?.order ?? 0);
}
