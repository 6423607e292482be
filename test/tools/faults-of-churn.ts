/** Faults in what devices that come and go leave behind, and in what they make the store do. */
import type { Fault } from "./faults.ts";

const devices = "test/broker/churn.test.ts";
const behind = "test/broker/backpressure.test.ts";
const cluster = "test/cluster/churn.test.ts";
const store = "test/contract/embedded.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "churn: what may be there of a session is removed unseen",
    file: "src/broker/connect/session-erasure.ts",
    find: "names.includes(path.slice(client.fencingToken.path.length + 1)),",
    replace: "path.length > 0,",
    tests: devices,
  },
  {
    what: "churn: a session that has expired never gives up its turn",
    file: "src/broker/connect/session-erasure.ts",
    find: "    this.#expiring--;\n",
    replace: "",
    tests: devices,
  },
  {
    what: "churn: emptied levels all go in one commit",
    file: "src/coordinator/empty-levels.ts",
    find: "      if (taken++ === most) return;\n",
    replace: "      taken++;\n",
    tests: store,
  },
  {
    what: "churn: levels that an earlier life has left empty stay for ever",
    file: "src/embedded/database.ts",
    find: "    this.#search(most);\n",
    replace: "    this.#searchAfter = undefined;\n",
    tests: store,
  },
  {
    what: "churn: what a refused submission has made is taken for a parent",
    file: "src/embedded/tree-operations.ts",
    find: "    this.#parents.clear();\n    this.#versions.clear();\n",
    replace: "    this.#versions.clear();\n",
    tests: store,
  },
  {
    what: "churn: a check holds by a version that has been set since",
    file: "src/embedded/tree-operations.ts",
    find: "    this.#versions.delete(path);\n    // What stood",
    replace: "    // What stood",
    tests: store,
  },
  {
    what: "churn: only the lowest of levels that are empty goes",
    file: "src/embedded/database.ts",
    find: "          this.#empty.hurry(split(path)[0]);\n",
    replace: "",
    tests: store,
  },
  {
    what: "churn: the embedded store builds on levels that are gone",
    file: "src/embedded/database.ts",
    find: "          this.#operations.forget(path);\n",
    replace: "",
    tests: store,
  },
  {
    what: "churn: a CONNECT does not wait for a store that is behind",
    file: "src/broker/connect/handle-connect.ts",
    find: "    else this.#storeBackPressure.pass(connection, () => this.#claimClientId(connection, wanted));\n",
    replace: "    else this.#claimClientId(connection, wanted);\n",
    tests: behind,
  },
  {
    what: "churn: who subscribes is read while the store is behind",
    file: "src/broker/inbound.ts",
    find: '          if (channel.phase === "open") this.#flows.storeBackPressure.hold(connection);\n',
    replace: "",
    tests: behind,
  },
  {
    what: "churn: a CONNECT is kept though its client has gone",
    file: "src/broker/broker.ts",
    find: " && !this.#parts.storeBackPressure.isWaiting(connection)",
    replace: "",
    tests: behind,
  },
  {
    what: "churn: a DISCONNECT behind what is held is not read when the connection has closed",
    file: "src/broker/broker.ts",
    find: 'return phase === "open" || (',
    replace: "return (",
    tests: behind,
  },
  {
    what: "churn: a connection that has closed is counted until the store has caught up",
    file: "src/broker/broker.ts",
    find: "      this.context.metrics.connections--;\n",
    replace: "",
    tests: behind,
  },
  {
    what: "churn: units that wait are not counted",
    file: "src/mail/journal.ts",
    find: " && this.#pending.size < journalUnitsMax",
    replace: "",
    tests: behind,
  },
  {
    what: "churn: a session elsewhere is remembered for ever when its connection has ended last",
    file: "src/broker/peers/forwarding.ts",
    find: "    session.host = undefined;\n    this.#idle(session);\n",
    replace: "    session.host = undefined;\n",
    tests: cluster,
  },
  {
    what: "churn: ZooKeeper is left to remove emptied levels",
    file: "src/broker/core/level-sweep.ts",
    find: "!(isRetainedLevel(path) || isContainerLevel(path))",
    replace: "!isRetainedLevel(path)",
    tests: cluster,
  },
  {
    what: "churn: levels of retained messages stay",
    file: "src/broker/core/level-sweep.ts",
    find: "!(isRetainedLevel(path) || isContainerLevel(path))",
    replace: "!isContainerLevel(path)",
    tests: cluster,
  },
  {
    what: "churn: the embedded store keeps levels of retained messages",
    file: "src/embedded/database.ts",
    find: 'isRetainedLevel(path) ? "persistent" : "container"',
    replace: '"container"',
    tests: devices,
  },
  {
    what: "churn: a session that is let go of is forgotten before its subscriptions are handed over",
    file: "src/broker/peers/subscription-directory.ts",
    find: "    const remote = this.session(clientId);\n    for",
    replace: "    const remote = this.session(clientId);\n    this.onReleased(remote);\n    for",
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "churn: deadlines that were cancelled gather until their time",
    file: "src/base/timers.ts",
    find: "this.#dead > deadEntriesMin && ",
    replace: "this.#dead > Infinity && ",
    tests: "test/unit/session.test.ts",
  },
  {
    what: "churn: what a CONNECT has said counts for the packets of others",
    file: "src/mqtt/control.ts",
    find: "  (decoder.parser as unknown as { settings: object }).settings = { protocolVersion: version };\n",
    replace: "",
    tests: "test/unit/codec.test.ts",
  },
  {
    what: "churn: routes to subscribers that have gone are kept",
    file: "src/router/router.ts",
    find: "    this.#generation++;\n    this.#clean();\n",
    replace: "    this.#generation++;\n",
    tests: "test/unit/router.test.ts",
  },
];
