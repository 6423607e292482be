/**
 * Faults in wills that are not to be published: a client is kept out for one, or it is published all the same; and in
 * those that wait for their delay in the store.
 */
import type { Fault } from "./faults.ts";

const delayed = "test/unit/rooms/delayed-wills.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "wills: a draining broker hears that a client is elsewhere before it leaves the client's will to wait",
    file: "src/broker/connect/session-handover.ts",
    find: "    const client = localSessions.get(clientId);\n    if (client?.connection !== undefined",
    replace:
      "    this.#wills.cameBack(clientId);\n    const client = localSessions.get(clientId);\n    if (client?.connection !== undefined",
    tests: "test/unit/rooms/session-store.test.ts",
  },
  {
    what: "forbidden wills: one is kept, for as long as the list forbids it",
    file: "src/broker/connect/forbidden-wills.ts",
    find: "return { ...request, will: undefined, notice: words };",
    replace: "return { ...request, notice: words };",
    tests: "test/broker/access.test.ts",
  },
  {
    what: "forbidden wills: a client of MQTT 5 is not told",
    file: "src/broker/connect/connack.ts",
    find: "reason ?? request.notice;",
    replace: "reason;",
    tests: "test/unit/rooms/handle-connect.test.ts",
  },
  {
    what: "delayed wills: a large one stays in memory while its client is away",
    file: "src/broker/connect/wills.ts",
    find: "if (isLarge && isDone(how) && client.will === waiting) client.leaveWillToStore();",
    replace: "void [isLarge, how];",
    tests: delayed,
  },
  {
    what: "delayed wills: the timer of its delay keeps a large one in memory",
    file: "src/broker/connect/wills.ts",
    find: "    this.#publishLater(client, delay * 1000);\n",
    replace:
      "    const { timers } = this.#context;\n    const timer = new Timer(() => this.publishNow(client));\n    this.#delays.set(client, timer);\n    timers.set(timer, clock.now() + delay * 1000);\n    void this.#publishLater;\n",
    tests: "test/broker/delayed-wills.test.ts",
  },
  {
    what: "delayed wills: one is left to the store before that has it as it waits",
    file: "src/broker/connect/wills.ts",
    find: "    // The will is only set if it is still there",
    replace: "    client.leaveWillToStore();\n    // The will is only set if it is still there",
    tests: delayed,
  },
  {
    what: "delayed wills: all that are due are read at once",
    file: "src/broker/connect/due-wills.ts",
    find: "if (this.#begun >= dueWillsMax) break;",
    replace: "",
    tests: delayed,
  },
  {
    what: "delayed wills: one that waits for long keeps all others waiting",
    file: "src/broker/connect/due-wills.ts",
    find: "timers.set(over, clock.now() + dueWillMs);",
    replace: "void dueWillMs;",
    tests: delayed,
  },
  {
    what: "delayed wills: one whose client waits to be let in has its turn after all others",
    file: "src/broker/connect/wills.ts",
    find: "    publication.turn?.begin();\n",
    replace: "",
    tests: delayed,
  },
  {
    what: "delayed wills: one that could not be read is lost",
    file: "src/broker/connect/wills.ts",
    find: "      if (error === undefined)\n        return use(",
    replace:
      "      if (error !== undefined) return use(undefined);\n      if (error === undefined)\n        return use(",
    tests: delayed,
  },
  {
    what: "delayed wills: one that another broker has removed since it was read is sent all the same",
    file: "src/broker/connect/wills.ts",
    find: "else this.#check(clientId, () => publish(record), end);",
    replace: "else publish(record);",
    tests: delayed,
  },
  {
    what: "delayed wills: all orphans that are due are read at once",
    file: "src/broker/connect/orphaned-wills.ts",
    find: "this.#parts.wills.whenItsTurn(publish);",
    replace: "publish({ begin() {}, end() {} });",
    tests: delayed,
  },
  {
    what: "delayed wills: as many are looked at at once where they are large",
    file: "src/broker/connect/orphaned-wills.ts",
    find: "2 * size, Math.max(1, fitting));",
    replace: "2 * size, Math.max(adoptionPageMax, fitting));",
    tests: delayed,
  },
  {
    what: "delayed wills: a session that begins anew does not say the will that only the store has",
    file: "src/broker/connect/handle-connect.ts",
    find: "if (before?.isWillStored && startsAnew(before, request))",
    replace: "if (before?.will !== undefined && startsAnew(before, request))",
    tests: "test/broker/delayed-wills.test.ts",
  },
  {
    what: "wills: an earlier CONNECT that comes late is let in, and the client declared dead",
    file: "src/broker/connect/silent-wills.ts",
    find: "if (paths.some((path, at) => this.#claimedAt(path, results[at]) > entering.stamp)) return refuse();",
    replace: "",
    tests: "test/simulation/silent-wills.test.ts",
  },
  {
    what: "wills: one of an earlier connection stays where its broker cannot be asked",
    file: "src/broker/connect/silent-wills.ts",
    find: "journal.commit(removals, letIn, again);",
    replace: "journal.commit(removals.slice(0, 0), letIn, again);",
    tests: "test/simulation/silent-wills.test.ts",
  },
  {
    what: "wills: a will does not say when its client came, where brokers could not be asked",
    file: "src/broker/connect/connect-payment.ts",
    find: "return silent().length > 0 ? stamp : undefined;",
    replace: "return silent().length < 0 ? stamp : undefined;",
    tests: "test/simulation/silent-wills.test.ts",
  },
];
