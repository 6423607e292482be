/** Faults in how brokers know each other: each would let a stranger be one, or hear what they say. */
import type { Fault } from "./faults.ts";

const handshake = "test/unit/link-handshake.test.ts";
const tls = "test/cluster/link-tls.test.ts -t tree";

export const faults: readonly Fault[] = [
  {
    what: "links: whoever asks in the old way is told a proof first",
    file: "src/link/handshake.ts",
    find: "if (number < Math.min(newestHandshake, other.handshake)) throw",
    replace: "if (number < 1) throw",
    tests: handshake,
  },
  {
    what: "links: who answers proves nothing",
    file: "src/link/handshake.ts",
    find: 'if (welcome.nonce !== this.#theirNonce || !this.#proves(welcome.proof, "acceptor"))',
    replace: "if (welcome.nonce !== this.#theirNonce)",
    tests: handshake,
  },
  {
    what: "links: a proof for another challenge is taken",
    file: "src/link/handshake.ts",
    find: "if (welcome.nonce !== this.#theirNonce || ",
    replace: "this.#theirNonce = welcome.nonce;\n    if (",
    tests: handshake,
  },
  {
    what: "links: a broker that has left meanwhile is linked",
    file: "src/link/handshake.ts",
    find: 'if (other.epoch !== epoch) throw refused("it has left");',
    replace: "void epoch;",
    tests: handshake,
  },
  {
    what: "links: TLS asks for no certificate",
    file: "src/server/link-doors.ts",
    find: 'clientCertificates: "require"',
    replace: 'clientCertificates: "off"',
    tests: tls,
    needsBuild: true,
  },
  {
    what: "links: a broker over TLS accepts plain links",
    file: "src/server/link-doors.ts",
    find: "const tls = linkTls ?",
    replace: "const tls = linkTls && linkPort < 0 ?",
    tests: tls,
    needsBuild: true,
  },
  {
    what: "links: a connection over TLS that is closed as it opens ends the broker",
    file: "src/net/tcp.ts",
    find: "if (!socket.data) return;\n        const { transport } = socket.data;",
    replace: "const { transport } = socket.data;",
    tests: "test/unit/dial.test.ts",
  },
  {
    what: "links: who says nothing over TLS is waited for without end",
    file: "src/net/tcp.ts",
    find: "    socket.terminate();\n  }, handshakeMs);",
    replace: "    socket.terminate();\n  }, 1000 * handshakeMs);",
    tests: "test/unit/dial.test.ts",
  },
  {
    what: "links: the time that pings are under way is taken for a difference of the clocks",
    file: "src/link/clock-offset.ts",
    find: "theirWall + underWayMs / 2 - wall",
    replace: "theirWall - wall",
    tests: "test/unit/clock-offset.test.ts",
  },
  {
    what: "links: a clock that is set is noticed only after a while",
    file: "src/link/clock-offset.ts",
    find: "> measured.withinMs + best.withinMs;",
    replace: "> measured.withinMs + best.withinMs + 1e9;",
    tests: "test/unit/clock-offset.test.ts",
  },
  {
    what: "links: the operator is not told of a link that is down while both brokers see ZooKeeper",
    file: "src/server/api-troubles.ts",
    find: "if (!isMember || isLinked) return;",
    replace: "if (!isMember || isLinked || downSince !== undefined) return;",
    tests: "test/cluster/troubles.test.ts",
    needsBuild: true,
  },
  {
    what: "links: a broker that was killed counts as shut down",
    file: "src/broker/peers/membership.ts",
    find: "if (peer.facts?.draining !== true) peer.lostAt",
    replace: "if (peer.facts?.draining === true) peer.lostAt",
    tests: "test/cluster/troubles.test.ts",
    needsBuild: true,
  },
];
