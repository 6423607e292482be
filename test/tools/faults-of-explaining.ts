/** Faults in explanations: each would name a cause that is none, or leave out the one that is. */
import type { Fault } from "./faults.ts";

const tests = "test/broker/explain.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "explain: two devices with one client id are not told of",
    file: "src/broker/connect/connection-end.ts",
    find: "if (reason === Reason.sessionTakenOver && client !== undefined)",
    replace: "if (reason === Reason.serverBusy && client !== undefined)",
    tests: "test/broker/explain.test.ts",
  },
  {
    what: "explain: sessions are said not to be there while ZooKeeper is away",
    file: "src/api/explain.ts",
    find: "unanswered.length === 0 && !isUnknown",
    replace: "unanswered.length === 0",
    tests: "test/unit/api-explain.test.ts",
  },
  {
    what: "explain: drops are not remembered by their topics",
    file: "src/broker/core/recent-drops.ts",
    find: "    topics.set(short, at);\n",
    replace: "",
    tests,
  },
  {
    what: "explain: refusals are not remembered by their topics",
    file: "src/broker/core/recent-refusals.ts",
    find: "  topics.set(short, why);\n",
    replace: "",
    tests,
  },
  {
    what: "explain: who took a shared message is not remembered",
    file: "src/broker/publish/shared-subscription.ts",
    find: "    group.last = best;\n",
    replace: "",
    tests,
  },
  {
    what: "explain: the wrong level of a filter is named",
    file: "src/mqtt/mismatch.ts",
    find: "at + 1} must be",
    replace: "at} must be",
    tests,
  },
  {
    what: "explain: a client is told of as having missed what it took itself",
    file: "src/server/api-explain-message.ts",
    find: "name === clientId || ",
    replace: "",
    tests,
  },
  {
    what: "explain: other brokers are not asked",
    file: "src/api/explain.ts",
    find: "asked.query.here === true",
    replace: "asked.query.here !== false",
    tests: "test/cluster/api.test.ts",
  },
  {
    what: "explain: a group whose members are all away counts as connected",
    file: "src/server/api-explain-message.ts",
    find: "!isRemoteSession(member) && member.connection === undefined",
    replace: "!isRemoteSession(member) && member.connection !== undefined",
    tests: "test/cluster/troubles-store.test.ts",
    needsBuild: true,
  },
];
