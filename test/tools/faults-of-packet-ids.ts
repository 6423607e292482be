/** Faults in how publishes at QoS 2 reach everybody once, when their publisher's broker dies or it moves. */
import type { Fault } from "./faults.ts";

export const faults: readonly Fault[] = [
  {
    what: "packet id: a message is sent live to who is here, and its packet id is committed first",
    file: "src/broker/publish/delivery-plan.ts",
    find: "target.qos === 1 && !this.#isWithPacketId && client.mailbox!.isEmpty",
    replace: "target.qos === 1 && client.mailbox!.isEmpty",
    tests: "test/simulation/packet-id.test.ts",
  },
  {
    what: "packet id: a message is sent over a link, and its packet id is committed first",
    file: "src/broker/peers/remote-session.ts",
    find: "if (isStoredAtOnce(target)) return",
    replace: "if (target.qos === 2) return",
    tests: "test/simulation/packet-id.test.ts",
  },
  {
    what: "packet id: a group's message is sent over a link, and its packet id is committed first",
    file: "src/broker/publish/delivery-plan.ts",
    find: "target.group !== undefined && !isStoredAtOnce(target) && subscriber",
    replace: "target.group !== undefined && target.qos < 2 && subscriber",
    tests: "test/simulation/packet-id.test.ts",
  },
  {
    what: "packet id: others are sent a publish whose commit is refused",
    file: "src/broker/publish/delivery-plan.ts",
    find: "const waits = this.#afterCommit !== undefined && last !== undefined;",
    replace: "const waits = this.#afterCommit === null && last !== undefined;",
    tests: "test/simulation/packet-id.test.ts",
  },
  {
    what: "packet id: who is here is sent a publish whose commit is refused",
    file: "src/broker/publish/delivery-plan.ts",
    find: "if (!isStored && this.#afterCommit !== undefined) this.#afterCommit.add(client, to);\n    else if (to.qos",
    replace: "if (to.qos",
    tests: "test/simulation/packet-id.test.ts",
  },
  {
    what: "packet id: nobody sends again what its broker may not have sent",
    file: "src/broker/publish/handle-publish.ts",
    find: "const isFound = client.session.takeFound(packetId) &&",
    replace: "const isFound = client.session.takeFound(packetId) && packetId < 0 &&",
    tests: "test/simulation/packet-id.test.ts",
  },
  {
    what: "packet id: what is sent again comes twice",
    file: "src/broker/cluster/arriving.ts",
    find: "return name === undefined || this.#named.take(name, isAgain === true);",
    replace: "return name === undefined || this.#named.take(name, isAgain === true) || isAgain === true;",
    tests: "test/simulation/packet-id.test.ts",
  },
  {
    what: "packet id: what was sent again comes from its slow broker, too",
    file: "src/broker/peers/named-publishes.ts",
    find: "const isNew = !ahead.has(number);",
    replace: "const isNew = !ahead.has(number) || number > 0;",
    tests: "test/simulation/packet-id.test.ts",
  },
  {
    what: "packet id: PUBREC comes before what is sent again has arrived",
    file: "src/broker/publish/repeated-publishes.ts",
    find: "    settlement.whenSettled(how.done);\n",
    replace: "    how.done();\n",
    tests: "test/simulation/packet-id.test.ts",
  },
  {
    what: "packet id: of one commit all counts as sent",
    file: "src/broker/peers/named-publishes.ts",
    find: "(zxid === last && sent.has(number))",
    replace: "zxid === last",
    tests: "test/unit/named-publishes.test.ts",
  },
  {
    what: "packet id: what goes to very many at once holds everybody up",
    file: "src/broker/publish/fanout.ts",
    find: "plan.commit(how.operations, isInSteps ? { ...how, inSteps } : how);",
    replace: "plan.commit(how.operations, how);",
    tests: "test/unit/rooms/wide-fanouts.test.ts",
  },
];
