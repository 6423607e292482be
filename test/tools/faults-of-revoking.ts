/** Faults in what was allowed and is not any more: each would let somebody go on. */
import type { Fault } from "./faults.ts";

const access = "test/broker/revoked.test.ts";
const connecting = "test/unit/rooms/connect.test.ts";
const clearing = "test/unit/clear-retained.test.ts";
const list = "test/unit/revocations.test.ts";
const lists = "test/broker/revocations.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "revoking: lists that are signed with RSASSA-PSS are verified as if they were not",
    file: "src/net/crl.ts",
    find: "const padding = isPss ?",
    replace: "const padding = isPss && signature.length === 0 ?",
    tests: list,
  },
  {
    what: "revoking: nobody is told that a certificate of the broker's own has ended",
    file: "src/server/certificate-watch.ts",
    find: 'if (stage === "over")\n      log.error(',
    replace: 'if (stage === "over" && certificate === undefined)\n      log.error(',
    tests: list,
  },
  {
    what: "revoking: clearing a retained message takes what has replaced it meanwhile",
    file: "src/audit/remove-mail.ts",
    find: 'await refusalOf(store, { kind: "delete", path, version });',
    replace: 'await refusalOf(store, { kind: "delete", path, version: Math.min(version, -1) });',
    tests: clearing,
  },
  {
    what: "revoking: a retained message with others below it is not cleared",
    file: "src/audit/remove-mail.ts",
    find: 'if (refused === "NotEmpty") refused =',
    replace: 'if (refused === "BadVersion") refused =',
    tests: clearing,
  },
  {
    what: "revoking: a denial of one client id counts for all that its user has retained",
    file: "src/access/acl.ts",
    find: 'const some = this.#open.denials.filter(({ levels }) => !levels.some((level) => level.includes("%c")));',
    replace: "const some = this.#open.denials;",
    tests: "test/unit/access.test.ts",
  },
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
  {
    what: "revoking: lists of revoked certificates are not asked",
    file: "src/net/tls.ts",
    find: "return certificate && revocations?.look(certificate);",
    replace: "return certificate && revocations && undefined;",
    tests: lists,
  },
  {
    what: "revoking: a connection outlives its certificate's revocation",
    file: "src/broker/connect/admission.ts",
    find: "connection?.transport.isRevoked ? revoked : identity",
    replace: "identity",
    tests: lists,
  },
  {
    what: "revoking: a certificate that is revoked between handshake and CONNECT lets in",
    file: "src/broker/connect/admission.ts",
    find: "    if (connection.transport.isRevoked) return this.#connectionEnd.refuse(connection, Reason.notAuthorized, revoked);\n",
    replace: "",
    tests: lists,
  },
  {
    what: "revoking: a certificate that is revoked while a hook is asked lets in",
    file: "src/broker/connect/admission.ts",
    find: "isRevoked ? 0 : (certificate",
    replace: "isRevoked ? Infinity : (certificate",
    tests: lists,
  },
  {
    what: "revoking: a list that has ended says that all is well",
    file: "src/net/revocations.ts",
    find: "endsAt > now",
    replace: "endsAt > now - 1e12",
    tests: list,
  },
  {
    what: "revoking: a list is taken for the one of another authority of that name",
    file: "src/net/revocations.ts",
    find: " && certificate.verify(one.key)",
    replace: "",
    tests: list,
  },
  {
    what: "revoking: whoever bears the name signs lists",
    file: "src/net/revocations.ts",
    find: "named.filter(({ key }) => isSignedWith(list, key))",
    replace: "named.filter(({ key }) => isSignedWith(list, key) || true)",
    tests: list,
  },
  {
    what: "revoking: a list for some places speaks for all",
    file: "src/net/revocations.ts",
    find: "places === undefined || places.some(",
    replace: "places === undefined || places.length > 0 || places.some(",
    tests: list,
  },
  {
    what: "revoking: the zero before a serial number makes it another one",
    file: "src/net/der.ts",
    find: "while (from < bytes.length - 1 && bytes[from] === 0) from++;",
    replace: "while (from < bytes.length - 1 && bytes[from] === -1) from++;",
    tests: list,
  },
  {
    what: "revoking: a list of changes is read as a whole one",
    file: "src/net/crl.ts",
    find: "if (id === Extension.deltaListIndicator)",
    replace: "if (id === Extension.deltaListIndicator && isCritical && value.length > 99)",
    tests: list,
  },
  {
    what: "revoking: an entry that is taken back is read as one more",
    file: "src/net/crl.ts",
    find: "if (rest[0] === removeFromList)",
    replace: "if (rest[0] === removeFromList + 9)",
    tests: list,
  },
];
