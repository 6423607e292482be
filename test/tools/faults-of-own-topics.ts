/** Faults in what is the broker's own to say: each would let a client speak in its place. */
import type { Fault } from "./faults.ts";

const broker = "test/broker/own-topics.test.ts";
const retained = "test/unit/rooms/retained-store.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "own topics: a will says there what it likes",
    file: "src/broker/connect/connect-request.ts",
    find: "  if (isOwnTopic(will.topic))\n",
    replace: '  if (isOwnTopic(will.topic) && will.topic === "")\n',
    tests: broker,
  },
  {
    what: "own topics: those of shared subscriptions are open",
    file: "src/broker/publish/own-topics.ts",
    find: "(?:SYS|share)",
    replace: "(?:SYS)",
    tests: broker,
  },
  {
    what: "own topics: a bridge may not tell its state",
    file: "src/broker/publish/own-topics.ts",
    find: " && !bridgeState.test(topic)",
    replace: "",
    tests: broker,
  },
  {
    what: "own topics: a client may publish there",
    file: "src/broker/inbound.ts",
    find: "    if (isOwnTopic(route.topic)) return ownTopicWords;\n",
    replace: '    if (isOwnTopic(route.topic) && route.topic === "") return ownTopicWords;\n',
    tests: broker,
  },
  {
    what: "own topics: what a broker says of itself goes to members of groups elsewhere",
    file: "src/broker/publish/fanout.ts",
    find: 'publish, (member) => "isElsewhere" in member);',
    replace: "publish);",
    tests: "test/unit/rooms/shared.test.ts",
  },
  {
    what: "own topics: what another broker says there is believed",
    file: "src/broker/cluster/arriving.ts",
    find: "return route === undefined || isOwnTopic(route.topic) ? undefined : route;",
    replace: "return route === undefined || isOwnTopic(publish.payer) ? undefined : route;",
    tests: "test/unit/link-frames.test.ts",
  },
  {
    what: "own topics: what an earlier version has let in stays in the store",
    file: "src/broker/publish/retained-store.ts",
    find: "    if (isOwn) return this.expire(path, node.stat.version);\n",
    replace: "",
    tests: retained,
  },
  {
    what: "own topics: a fake that is removed takes what the broker says with it",
    file: "src/broker/publish/retained-store.ts",
    find: "if (!isOwn) retained.delete(topic);",
    replace: "retained.delete(topic);",
    tests: retained,
  },
];
