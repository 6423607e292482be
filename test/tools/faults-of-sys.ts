/** Faults in what the broker tells below `$SYS`: counters that differ from what mosquitto counts. */
import type { Fault } from "./faults.ts";

const beside = "test/foreign/sys-values.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "$SYS: acks are no packets that are sent",
    file: "src/mqtt/acks.ts",
    find: "  const at = sink.reserve(reason === Reason.success ? 4 : 5);\n  sink.packets++;\n",
    replace: "  const at = sink.reserve(reason === Reason.success ? 4 : 5);\n",
    tests: beside,
  },
  {
    what: "$SYS: only publishes are packets that are received",
    file: "src/broker/inbound.ts",
    find: "this.#context.metrics.packetsReceived += count;",
    replace: "this.#context.metrics.packetsReceived = this.#context.metrics.publishesReceived;",
    tests: beside,
  },
  {
    what: "$SYS: of a run only the first payload is counted as sent",
    file: "src/broker/inbound.ts",
    find: "      run.payloadBytes += payloadLength;\n",
    replace: "",
    tests: beside,
  },
  {
    what: "$SYS: a refusal is no packet",
    file: "src/broker/connect/connection-end.ts",
    find: "writer.appendPacket(bytes);",
    replace: "writer.append(bytes, 0, bytes.length);",
    tests: beside,
  },
  {
    what: "$SYS: after a restart stored payloads have no bytes",
    file: "src/broker/core/payment-check.ts",
    find: "count(path, head, payloadBytesIn(data));",
    replace: "count(path, head, 0 * data.length);",
    tests: "test/broker/sys-store.test.ts",
  },
  {
    what: "$SYS: shared subscriptions count as plain ones",
    file: "src/router/filter-trie.ts",
    find: "      if (subscription.filter.group !== undefined) this.#sharedSize++;\n",
    replace: "",
    tests: beside,
  },
  {
    what: "/metrics: an ack that has waited for a mailbox counts as acknowledged through",
    file: "src/mail/settlement.ts",
    find: "if (this.isStored || this.slips > 0)",
    replace: "if (this.isStored)",
    tests: "test/broker/health.test.ts",
  },
  {
    what: "/metrics: an ack that has waited for a retained message counts as live",
    file: "src/broker/publish/delivery-plan.ts",
    find: "    settlement.isStored = true;\n",
    replace: "",
    tests: "test/broker/health.test.ts",
  },
];
