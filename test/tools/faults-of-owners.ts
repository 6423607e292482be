/** Faults in whose a session is: each would let somebody have, end or interrupt what another user has made. */
import type { Fault } from "./faults.ts";

const owners = "test/broker/session-owner.test.ts";
const takeOver = "test/unit/take-over.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "owners: a session is whose client id it is",
    file: "src/broker/connect/session-owner.ts",
    find: 'return session.user === "" || session.user === user;',
    replace: 'return session.user === "" || session.user === user || user !== "";',
    tests: owners,
  },
  {
    what: "owners: after a restart nobody knows whose a session is",
    file: "src/broker/connect/session-store.ts",
    find: 'user: client.user === "" ? undefined : client.user,',
    replace: "user: undefined,",
    tests: owners,
  },
  {
    what: "owners: a session that was made without a name stays anybody's",
    file: "src/broker/connect/handle-connect.ts",
    find: "    client.belongTo(userOf(request.login), request.stamp);\n",
    replace: "    if (client.user !== '') client.belongTo(userOf(request.login), request.stamp);\n",
    tests: owners,
  },
  {
    what: "owners: another broker gives up whatever is asked for",
    file: "src/broker/connect/take-over.ts",
    find: 'if (!isHere()) return answer("anothers");',
    replace: "void isHere;",
    tests: takeOver,
  },
  {
    what: "owners: of two users' claims the later goes before",
    file: "src/broker/connect/take-over.ts",
    find: "if (isTheirs(own) ? isLater : !isLater)",
    replace: "if (isLater)",
    tests: takeOver,
  },
  {
    what: "owners: a client is not told that a session is another user's",
    file: "src/broker/connect/take-over.ts",
    find: 'this.#decide(claim, isAnothers ? "anothers" : "elsewhere")',
    replace: 'this.#decide(claim, "elsewhere")',
    tests: takeOver,
  },
  {
    what: "owners: a client id begins as it likes",
    file: "src/broker/connect/session-owner.ts",
    find: "return clientId.startsWith(prefix) && clientId.length > prefix.length",
    replace: "return clientId.length > prefix.length",
    tests: owners,
  },
  {
    what: "owners: what was claimed while a link was cut takes the session of a client that has come since",
    file: "src/broker/connect/take-over.ts",
    find: "if (maybeLate !== true || newest <= stamp) return false;",
    replace: "if (maybeLate !== true || newest >= stamp) return false;",
    tests: "test/unit/take-over.test.ts test/simulation/stale.test.ts",
  },
  {
    what: "owners: a clean session leaves what a broker keeps that is not reached",
    file: "src/broker/connect/handle-connect.ts",
    find: "request.expiryInterval > 0 || (request.silent().length > 0 && !self.isFenced);",
    replace: "request.expiryInterval > 0;",
    tests: "test/simulation/stale.test.ts",
  },
  {
    what: "owners: a session that another broker keeps is erased while that one goes on in its name",
    file: "src/broker/connect/session-erasure.ts",
    find: "if (!client.isAnothers(options.id)) return go();",
    replace: "if (options.id !== undefined) return go();",
    tests: "test/simulation/stale.test.ts",
  },
  {
    what: "owners: a session is given up though its client has come back meanwhile, which is then connected without one",
    file: "src/broker/connect/session-handover.ts",
    find: " && client.claimedAt === claimedAt;",
    replace: ";\n      void claimedAt;",
    tests: "test/unit/rooms/session-store.test.ts",
  },
  {
    what: "owners: a claim is granted though its client has come here meanwhile",
    file: "src/broker/connect/take-over.ts",
    find: 'if (!isOvertaken()) answer("granted");',
    replace: 'answer("granted");',
    tests: "test/unit/take-over.test.ts",
  },
];
