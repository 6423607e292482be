/** Faults in files and packets at the edges of what is allowed. */
import type { Fault } from "./faults.ts";

const rights = "test/unit/file-rights.test.ts";
const connecting = "test/unit/rooms/connect.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "edges: anybody may read the store",
    file: "src/embedded/open-store.ts",
    find: "    closeToOthers(folder);\n",
    replace: "    void closeToOthers;\n",
    tests: rights,
  },
  {
    what: "edges: anybody may look into the store's folder",
    file: "src/embedded/open-store.ts",
    find: "{ recursive: true, mode: 0o700 }",
    replace: "{ recursive: true, mode: 0o755 }",
    tests: rights,
  },
  {
    what: "edges: a file is written through a link that somebody has put there",
    file: "src/server/operator-files.ts",
    find: "systemRandom.hex(16)",
    replace: "process.pid",
    tests: rights,
  },
  {
    what: "edges: a client that calls itself $SYS has the broker's topics",
    file: "src/access/acl.ts",
    find: "/^\\$|[+#/]/.test(value)",
    replace: "/[+#/]/.test(value)",
    tests: "test/unit/access.test.ts",
  },
  {
    what: "edges: a URI of a certificate is as good as a DNS name",
    file: "src/broker/connect/admission.ts",
    find: 'return alternativeNames.find((one) => one.kind === kind)?.name ?? "";',
    replace: "return alternativeNames.find((one) => one.kind !== '' + kind + 'x')?.name ?? \"\";",
    tests: connecting,
  },
  {
    what: "edges: a PUBLISH within a login is malformed",
    file: "src/broker/inbound.ts",
    find: "if (isEarly && type !== PacketType.auth && type !== PacketType.disconnect)",
    replace: "if (isEarly && type === PacketType.pingreq)",
    tests: "test/broker/access.test.ts",
  },
  {
    what: "edges: Authentication Data without a Method",
    file: "src/broker/connect/connect-request.ts",
    find: "if (authenticationData !== undefined && authenticationMethod === undefined)",
    replace: "if (authenticationData === null && authenticationMethod === undefined)",
    tests: connecting,
  },
  {
    what: "edges: PUBREL with DUP in MQTT 3.1 is malformed",
    file: "src/broker/inbound.ts",
    find: "checkHeaderFlags(firstByte, channel.version);",
    replace: "checkHeaderFlags(firstByte);",
    tests: "test/broker/packets-of-old.test.ts",
  },
  {
    what: "edges: PUBREL with DUP after MQTT 3.1",
    file: "src/mqtt/validate.ts",
    find: "version === 3 && wanted === 2 ? 0x08 : 0",
    replace: "wanted === 2 ? 0x08 : 0",
    tests: "test/broker/packets-of-old.test.ts",
  },
];
