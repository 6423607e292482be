/** Faults in wills that are not to be published: a client is kept out for one, or it is published all the same. */
import type { Fault } from "./faults.ts";

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
];
