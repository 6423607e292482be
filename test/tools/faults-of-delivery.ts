/** Faults in how messages reach one client, a group's members, or everybody as a will. */
import type { Fault } from "./faults.ts";

export const faults: readonly Fault[] = [
  {
    what: "resume: what was sent before it expired is dropped with its packet id",
    file: "src/broker/client.ts",
    find: "(wasSent || !this.isExpired(publish))",
    replace: "(wasSent === undefined || !this.isExpired(publish))",
    tests: "test/broker/resume.test.ts",
  },
  {
    what: "resume: a QoS 2 message that cannot be sent again leaves its packet id to others",
    file: "src/broker/mailbox.ts",
    find: 'if (slip.record!.state === "sent") return this.#sentBefore.giveUp(slip);',
    replace: "",
    tests: "test/broker/resume.test.ts",
  },
  {
    what: "resume: what is sent again takes no room in the window",
    file: "src/broker/mailbox.ts",
    find: 'slip.record?.state === "released" ? this.#client.isOpen : this.#client.hasRoom',
    replace: "this.#sentBefore.idOf(slip) !== undefined ? this.#client.isOpen : this.#client.hasRoom",
    tests: "test/broker/resume.test.ts",
  },
  {
    what: "resume: packet ids that are only held take room in the window",
    file: "src/broker/outgoing.ts",
    find: "return outgoing === reserved || outgoing.onlyReleased;",
    replace: "return outgoing !== reserved && outgoing.onlyReleased && outgoing.qos === 0;",
    tests: "test/broker/resume.test.ts",
  },
  {
    what: "resume: the sweep forgets packet ids that were sent at QoS 2",
    file: "src/broker/teller.ts",
    find: 'if (record.state === "sent") slips.lapse(slip, stat.version);\n      else slips',
    replace: "slips",
    tests: "test/simulation/lapsed.test.ts",
  },
];
