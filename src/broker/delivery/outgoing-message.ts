/** A message on its way to one client: in its window, or waiting for room in it. */

import { groupMarkOf } from "../../mail/records.ts";
import type { LiveRecipient, Settlement } from "../../mail/settlement.ts";
import type { Slip, SlipDraft } from "../../mail/slips.ts";
import type { QoS } from "../../mqtt/constants.ts";
import type { Publish } from "../../mqtt/publish.ts";
import type { SharedGroup, Target } from "../../router/router.ts";
import type { LocalSession } from "./local-session.ts";

export class OutgoingMessage implements LiveRecipient {
  readonly client: LocalSession | undefined;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly subscriptionIds: readonly number[];
  readonly group: SharedGroup<unknown> | undefined;
  /** Kept as long as it may have to be sent again. */
  publish: Publish | undefined;
  packetId = 0;
  /** PUBREC has come: only PUBREL and PUBCOMP are left. */
  released = false;
  /** ... and its PUBLISH was sent in an earlier connection, or never will be: it takes no room in this one's window. */
  onlyReleased = false;
  takenCareOf = false;
  /** Its slip is being committed after it was sent. */
  isBeingStored = false;
  /** The client has acknowledged it. */
  acknowledged = false;
  settlement: Settlement | undefined;
  slip: Slip | undefined;

  constructor(client: LocalSession | undefined, target: OutgoingTarget, publish: Publish | undefined) {
    this.client = client;
    this.qos = target.qos;
    this.retain = target.retain;
    this.subscriptionIds = target.subscriptionIds;
    this.group = target.group;
    this.publish = publish;
  }

  /** What its slip will say; the mailbox counts it from now on. */
  draft(): SlipDraft {
    const { qos, retain, subscriptionIds, packetId, group } = this;
    this.client!.mailbox!.expect();
    this.isBeingStored = this.settlement !== undefined;
    const groupMark = groupMarkOf(group?.text);
    return { clientId: this.client!.session.clientId, qos, retain, subscriptionIds, packetId, groupMark };
  }

  stored(slip: Slip): void {
    this.slip = slip;
    this.isBeingStored = false;
    // From here on the store holds the message.
    slip.publish = undefined;
    const isPlaced = this.acknowledged || this.client!.isInFlight(this);
    this.client!.mailbox!.arrived(slip, isPlaced ? "placed" : "elsewhere");
    if (this.acknowledged) this.client!.bankedTooLate(this, slip);
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
plainReleased.released = true;

/** Holds the packet id of a message that is in the mailbox and will be sent again under it. */
export const reserved = new OutgoingMessage(undefined, nothing, undefined);

/** True for what takes no room in the window: no PUBLISH of it is unacknowledged in this connection. */
export function onlyHoldsId(outgoing: OutgoingMessage): boolean {
  return outgoing === reserved || outgoing.onlyReleased;
}

/** In the order of the publishes. */
export function bySettlement(a: OutgoingMessage, b: OutgoingMessage): number {
  return (a.settlement?.order ?? 0) - (b.settlement?.order ?? 0);
}
