/** Faults in traces: each would keep something from who follows a client or a message, or go on when nobody does. */
import type { Fault } from "./faults.ts";

const tests = "test/broker/trace.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "trace: packets that were passed on in one piece are not told",
    file: "src/broker/inbound.ts",
    find: "publish.verbatim && !isTraced && ",
    replace: "publish.verbatim && ",
    tests,
  },
  {
    what: "trace: connections are read along for ever",
    file: "src/broker/core/trace.ts",
    find: "if (!this.readsPackets) this.onEnd();",
    replace: "",
    tests,
  },
  {
    what: "trace: it has no limit of rate",
    file: "src/broker/core/trace.ts",
    find: "++one.inSecond > traceRateMax || ",
    replace: "",
    tests,
  },
  {
    what: "trace: what is stored is not told",
    file: "src/broker/publish/delivery-plan.ts",
    find: "if (trace.isOn) tellStored",
    replace: "if (!trace.isOn) tellStored",
    tests,
  },
  {
    what: "trace: others' messages are told as well",
    file: "src/broker/core/trace.ts",
    find: "(topic === undefined || !filterMatches(levels",
    replace: "(topic !== undefined && !filterMatches(levels",
    tests,
  },
  {
    what: "trace: other brokers follow for ever",
    file: "src/api/trace.ts",
    find: "        collected.delete(name);\n        one.end();\n",
    replace: "        collected.delete(name);\n",
    tests: "test/cluster/api.test.ts",
  },
  {
    what: "trace: who follows is not in the audit log",
    file: "src/api/audit-log.ts",
    find: "  note({ after: following });\n",
    replace: "",
    tests,
  },
  {
    what: "trace: the audit log does not say for how long somebody has followed",
    file: "src/api/trace.ts",
    find: "          noteEnd(number);\n",
    replace: "",
    tests,
  },
  {
    what: "trace: that somebody was refused is not in the audit log",
    file: "src/api/api.ts",
    find: "(operation.isAudited === true && outcome instanceof Problem)",
    replace: "operation.isAudited !== undefined",
    tests,
  },
  {
    what: "trace: what other brokers follow for one that asks is not in their audit logs",
    file: "src/api/api.ts",
    find: '    const given = served as Omit<Served, "others">;\n    operation.answerCall({ path, query, body, caller, cluster, ...given, note, done: answered });',
    replace:
      '    const given = served as Omit<Served, "others">;\n    operation.answerCall({ path, query, body, caller, cluster, ...given, note: () => {}, done: answered });',
    tests: "test/cluster/api.test.ts",
  },
  {
    what: "trace: of a large packet the stream is lost",
    file: "src/broker/delivery/packet-words.ts",
    find: "Math.max(0, size - rest.length)",
    replace: "0",
    tests: "test/unit/packet-words.test.ts",
  },
];
