/** Faults in MQTT-SN: each would lose or double what a device was promised, or let strangers flood somebody. */
import type { Fault } from "./faults.ts";

const machine = "test/unit/mqttsn.test.ts";
const flows = "test/broker/mqtt-sn.test.ts";
const loss = "test/broker/mqtt-sn-loss.test.ts";
const tools = "test/unit/mqttsn-client.test.ts";
const counters = "test/unit/mqttsn-counters.test.ts";
const protection = "test/unit/mqttsn-protection.test.ts";
const flows2 = "test/broker/mqtt-sn-2.test.ts";
const attacks = "test/broker/mqtt-sn-attacks.test.ts";
const deliveries = "test/unit/mqttsn-deliveries.test.ts";
const simulation = "test/simulation/sn.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "mqtt-sn: a stranger is sent as much as there is",
    file: "src/mqttsn/peer.ts",
    find: "return this.isProven || bytes + this.overhead <= this.credit;",
    replace: "return bytes >= 0;",
    tests: attacks,
  },
  {
    what: "mqtt-sn: what was sent to a stranger is not counted",
    file: "src/mqttsn/peer.ts",
    find: "if (!this.isProven) this.credit = Math.max(0, this.credit - whole.length);",
    replace: "if (whole.length === 0) this.credit = 0;",
    tests: machine,
  },
  {
    what: "mqtt-sn: what comes again is published again",
    file: "src/mqttsn/requests.ts",
    find: "const reply = isAsked ? undefined : this.#answers.find(messageId, question, isAgain, now);",
    replace: "const reply = isAsked ? undefined : this.#answers.find(-messageId, question, isAgain, now);",
    tests: flows,
  },
  {
    what: "mqtt-sn: what is not answered is not sent again",
    file: "src/mqttsn/deliveries.ts",
    find: "if (current === undefined || this.#isHeld || current.dueAt > now) return;",
    replace: "if (current === undefined || this.#isHeld || current.dueAt > now || current.tries >= 0) return;",
    tests: loss,
  },
  {
    what: "mqtt-sn: a sleeping client is sent what comes",
    file: "src/mqttsn/device.ts",
    find: "    this.deliveries.hold();\n  }\n\n  /** Opens",
    replace: "  }\n\n  /** Opens",
    tests: flows,
  },
  {
    what: "mqtt-sn: PINGRESP comes before the mail",
    file: "src/mqttsn/device.ts",
    find: 'if (this.state !== "awake" || !this.deliveries.isIdle) return;',
    replace: 'if (this.state !== "awake") return;',
    tests: flows,
  },
  {
    what: "mqtt-sn: wildcards bring topics that nobody has registered",
    file: "src/mqttsn/deliveries.ts",
    find: "if (registered?.isKnown) return",
    replace: "if (registered !== undefined || topics.idOf(topic) !== undefined) return",
    tests: flows,
  },
  {
    what: "mqtt-sn: a connection that begins anew leaves a will behind",
    file: "src/mqttsn/device.ts",
    find: "    this.#leave(Reason.success);\n    this.#requests.reset(message.clean);",
    replace: "    this.#leave(Reason.disconnectWithWill);\n    this.#requests.reset(message.clean);",
    tests: flows,
  },
  {
    what: "mqtt-sn: PUBREC is acknowledged before the broker has heard of it",
    file: "src/mqttsn/deliveries.ts",
    find: "      return this.#recipient.acknowledge(PacketType.pubrec, messageId, Reason.success);",
    replace: '      this.#recipient.peer.tell({ kind: "pubrel", messageId });\n      return;',
    tests: flows,
  },
  {
    what: "mqtt-sn: silence has no end",
    file: "src/mqttsn/terms.ts",
    find: "return Math.round(durationMs * (durationMs > snShortDurationMs ? 1.1 : 1.5));",
    replace: "return Math.round(durationMs * (durationMs > snShortDurationMs ? 2.1 : 2.5));",
    tests: machine,
  },
  {
    what: "mqtt-sn: strangers have no bound",
    file: "src/mqttsn/gateway.ts",
    find: "if (this.#unproven.size <= snUnprovenMax) return;",
    replace: "if (this.#unproven.size <= snUnprovenMax * 2) return;",
    tests: machine,
  },
  {
    what: "mqtt-sn: DISCONNECT of strangers is answered",
    file: "src/mqttsn/gateway.ts",
    find: "if (times === 0) return;",
    replace: "if (times > 100) return;",
    tests: attacks,
  },
  {
    what: "mqtt-sn: a message that is too large is never acknowledged",
    file: "src/mqttsn/deliveries.ts",
    find: "      this.#recipient.tooLarge(item.topic, size);\n      return this.#refused(current, now);",
    replace: "      this.#recipient.tooLarge(item.topic, size);\n      return;",
    tests: flows,
  },
  {
    what: "mqtt-sn: a tool takes a message of QoS 2 twice",
    file: "src/mqttsn/inward.ts",
    find: "if (qos === 2) this.#unreleased.add(messageId);",
    replace: "if (qos === 2 && dup) this.#unreleased.add(messageId);",
    tests: tools,
  },
  {
    what: "mqtt-sn: a tool asks for ids for ever",
    file: "src/mqttsn/client.ts",
    find: "answer.code !== ReturnCode.invalidTopicId || unknown++ >= snRetriesMax)",
    replace: "answer.code !== ReturnCode.invalidTopicId || unknown > snRetriesMax)",
    tests: tools,
  },
  {
    what: "mqtt-sn: a protected packet counts twice",
    file: "src/mqttsn/counters.ts",
    find: "if ((this.#seen & bit) !== 0n) return false;",
    replace: "if ((this.#seen & bit) === 1n) return false;",
    tests: counters,
  },
  {
    what: "mqtt-sn: a forged packet moves the counter",
    file: "src/mqttsn/protection.ts",
    find: 'if (inner === undefined) return refused("forged");',
    replace:
      'if (inner === undefined) {\n      this.#windows.get(sender)?.take(readUint32(bytes, counterAt));\n      return refused("forged");\n    }',
    tests: protection,
  },
  {
    what: "mqtt-sn: nobody's key is needed for a protected session",
    file: "src/mqttsn/gateway.ts",
    find: '(suffix === "" ? !mark.test(clientId) : clientId.endsWith(suffix));',
    replace: '(suffix === "" || clientId.endsWith(suffix));',
    tests: flows2,
  },
  {
    what: "mqtt-sn: whoever says who he is has moved",
    file: "src/mqttsn/gateway.ts",
    find: "device?.isAsleep && device.given?.allowsMoves &&",
    replace: "device?.isAsleep !== undefined &&",
    tests: flows2,
  },
  {
    what: "mqtt-sn: a sleeper of 2.0 is sent more than it takes",
    file: "src/mqttsn/deliveries.ts",
    find: "    this.#left--;",
    replace: "    this.#left -= 0;",
    tests: flows2,
  },
  {
    what: "mqtt-sn: a device is told to release what the broker has not heard of",
    file: "src/mqttsn/deliveries.ts",
    find: "if (isOver || (isThis",
    replace: "if (messageId >= 0 || isOver || (isThis",
    tests: simulation,
  },
  {
    what: "mqtt-sn: what a device has received is sent again when its address has changed",
    file: "src/mqttsn/deliveries.ts",
    find: "      current.isReceived = true;\n",
    replace: "",
    tests: deliveries,
  },
  {
    what: "mqtt-sn: PUBREL that comes again is answered before the store has forgotten its packet id",
    file: "src/broker/publish/handle-publish.ts",
    find: "if (before?.has(packetId)) return",
    replace: "if (before?.has(packetId) && packetId < 0) return",
    tests: "test/simulation/released-twice.test.ts",
  },
  {
    what: "mqtt-sn: counters of protected packets are forgotten with the broker",
    file: "src/server/sn-gateway.ts",
    find: "      counters: new StoredCounters(coordinator, strange),\n",
    replace: "",
    tests: "test/chaos/mqtt-sn-replay.test.ts",
    needsBuild: true,
  },
  {
    what: "mqtt-sn: a counter is taken before the store knows of it",
    file: "src/mqttsn/counters.ts",
    find: "    range.held = [{ counter, judged }];\n",
    replace: "    range.held = [];\n    judged(true);\n",
    tests: counters,
  },
  {
    what: "mqtt-sn: counters that another broker was granted are taken again",
    file: "src/mqttsn/counters.ts",
    find: "if (from !== range.until) {",
    replace: "if (from < range.until) {",
    tests: counters,
  },
  {
    what: "sn: a sleeper whose address is fixed is had from another one",
    file: "src/mqttsn/gateway.ts",
    find: "if (!this.#mayHave(clientId, peer) || this.#isElsewhere(device, peer))",
    replace: "if (!this.#mayHave(clientId, peer))",
    tests: "test/unit/mqttsn.test.ts",
  },
  {
    what: "sn: whoever connects as a client whose address is fixed has it",
    file: "src/mqttsn/gateway.ts",
    find: "    if (this.#isElsewhere(device, peer)) return refuse(Reason2.clientIdNotValid);\n",
    replace: "",
    tests: "test/unit/mqttsn.test.ts",
  },
  {
    what: "sn: a fixed address counts with its port",
    file: "src/mqttsn/gateway.ts",
    find: "return device !== undefined && device.peer.address !== address;",
    replace: "return device !== undefined && (device.peer.port > 0 || address !== '');",
    tests: "test/unit/mqttsn.test.ts",
  },
  {
    what: "sn: what fits into no datagram waits in memory until its client is awake",
    file: "src/mqttsn/deliveries.ts",
    find: "    const size = this.#sizeBeyondLimit(delivery);",
    replace: "    const size = this.#isHeld ? undefined : this.#sizeBeyondLimit(delivery);",
    tests: "test/unit/mqttsn-deliveries.test.ts",
  },
];
