/** A slip of a message that waits for one session at QoS 1, for tests to fill in. */
import type { SlipRecord } from "../../src/mail/records.ts";

export const blankSlip: SlipRecord = {
  state: "waiting",
  qos: 1,
  retain: false,
  packetId: 0,
  recipients: 1,
  keepUntil: Infinity,
  branch: "b",
  subscriptionIds: [],
  messagePath: "",
  hasParts: false,
  groupMark: 0,
};
