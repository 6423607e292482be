/** Faults in what was allowed and is not any more: each would let somebody go on. */
import type { Fault } from "./faults.ts";

const access = "test/broker/revoked.test.ts";
const connecting = "test/unit/rooms/connect.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "revoking: who was let in by an old password goes on",
    file: "src/access/access.ts",
    find: 'return now === entry ? undefined : "its user\'s password has been changed";',
    replace: "return undefined;",
    tests: access,
  },
  {
    what: "revoking: who was let in by a withdrawn key goes on",
    file: "src/access/tokens.ts",
    find: "return this.#keys.latest()?.ids.has(keyId) !== false;",
    replace: "return this.#keys.latest()?.ids.has(keyId) !== undefined || keyId !== '';",
    tests: access,
  },
  {
    what: "revoking: a service's withdrawn keys are noticed by nobody",
    file: "src/access/key-set.ts",
    find: "if (before !== undefined && [...before].some((id) => !ids.has(id))) this.#told.withdrawn();",
    replace: "void [before, ids];",
    tests: "test/unit/tokens.test.ts",
  },
  {
    what: "revoking: a certificate counts for as long as its connection",
    file: "src/broker/connect/admission.ts",
    find: "const until = Math.min(expiresAt, certificateUntil);",
    replace: "const until = Math.min(expiresAt, certificateUntil + 1e9);",
    tests: connecting,
  },
  {
    what: "revoking: what was queued is sent to who may not read it any more",
    file: "src/broker/delivery/local-session.ts",
    find: "if (this.isExpired(publish) || !this.mayReceive(publish)) continue;",
    replace: "if (this.isExpired(publish)) continue;",
    tests: access,
  },
];
