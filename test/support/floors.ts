/** The tables of the tidy test: which folder may import which, and where the doors to the outside are. */
import { dirname } from "node:path";

/** The floors below the broker. */
const belowBroker = [
  "src/base",
  "src/mqtt",
  "src/net",
  "src/coordinator",
  "src/session",
  "src/router",
  "src/bank",
  "src/mail",
  "src/audit",
  "src/link",
  "src/access",
];

/**
 * The broker's rooms, from the bottom up: each may import those that its row names, and the floors below the broker.
 */
export const rooms: Record<string, readonly string[]> = {
  core: [],
  delivery: ["core"],
  peers: ["core", "delivery"],
  drops: ["core", "delivery", "peers"],
  publish: ["core", "delivery", "peers"],
  connect: ["core", "delivery", "peers", "drops", "publish"],
  cluster: ["core", "delivery", "peers", "drops", "publish", "connect"],
};
const allRooms = ["src/broker", ...Object.keys(rooms).map((room) => `src/broker/${room}`)];

/** The folders that each folder may import, itself apart; a type counts as much as a value. */
export const floors: Record<string, readonly string[]> = {
  "src/base": [],
  "src/mqtt": ["src/base"],
  "src/net": ["src/base"],
  "src/coordinator": ["src/base"],
  "src/session": ["src/base", "src/mqtt"],
  "src/router": ["src/base", "src/mqtt"],
  "src/mail": ["src/base", "src/mqtt", "src/coordinator"],
  "src/bank": ["src/base", "src/coordinator"],
  // mqtt: topics and their filters, by which messages are found.
  "src/audit": ["src/base", "src/mqtt", "src/coordinator", "src/mail", "src/bank"],
  "src/link": ["src/base", "src/mqtt"],
  "src/access": ["src/base", "src/mqtt"],
  // Another broker's files.
  "src/mosquitto": ["src/base", "src/mqtt"],
  // access: who may use it, and how they prove it.
  "src/api": ["src/base", "src/mqtt", "src/access"],
  // A program for browsers; api: the types of the rows that it shows.
  "src/dashboard": ["src/api"],
  "src/load": ["src/base", "src/mqtt"],
  // net: what a transport is, which its connections to the broker are.
  "src/mqttsn": ["src/base", "src/mqtt", "src/net"],
  // net: its options.ts, which has the doors, and its client.ts.
  "src/zookeeper": ["src/base", "src/coordinator", "src/net"],
  "src/embedded": ["src/base", "src/coordinator"],
  ...Object.fromEntries(
    Object.entries(rooms).map(([room, below]) => [
      `src/broker/${room}`,
      [...belowBroker, ...below.map((other) => `src/broker/${other}`)],
    ]),
  ),
  "src/broker": [...belowBroker, ...allRooms],
  // audit, mail: what the API tells of what is stored.
  "src/server": [
    "src/base",
    "src/mqtt",
    "src/net",
    "src/coordinator",
    "src/bank",
    "src/audit",
    "src/mail",
    "src/access",
    "src/api",
    "src/router",
    "src/zookeeper",
    "src/embedded",
    "src/mqttsn",
    "src/mosquitto",
    ...allRooms,
  ],
  // bank: what a refusal says, and what a message costs; mqttsn: its sn-connection.ts, for tools.
  "src/client": ["src/base", "src/mqtt", "src/mqttsn", "src/net", "src/session", "src/bank"],
  // client: where its brokers of this process are.
  "src/testing": ["src/base", "src/mqtt", "src/net", "src/client"],
  // mqtt: the flags speak of QoS, reasons and filters, which are the protocol's words; zookeeper: of its servers.
  cli: [
    "src/base",
    "src/mqtt",
    ...allRooms,
    "src/server",
    "src/api",
    "src/client",
    "src/load",
    "src/mosquitto",
    "src/access",
    "src/audit",
    "src/zookeeper",
    "src/coordinator",
    "src/mail",
    "src/bank",
    "src/embedded",
  ],
};

/** The door in each row is the only place for what its pattern names. */
export const doors: readonly { what: RegExp; only: readonly string[] }[] = [
  {
    what: /\bBun\.(listen|connect|udpSocket|serve)\b|"node:(net|tls|dgram|http)"|\bnew WebSocket\b/,
    only: [
      "src/net/tcp.ts",
      "src/net/http.ts",
      "src/net/node-tcp.ts",
      "src/net/web-socket-client.ts",
      "src/net/udp.ts",
    ],
  },
  // The C library speaks to systemd's socket.
  { what: /"bun:ffi"/, only: ["src/net/unix-datagram.ts"] },
  // The operator's configuration is a file that the command line reads, his certificates and passwords the broker; a
  // Unix socket is a file, too, and so is where the kernel says how much memory there may be, and standard output;
  // and sub and record save messages.
  {
    what: /"(bun|node):sqlite"|"node:fs"|\bBun\.(file|write)\b|\bindexedDB\.open\b/,
    only: [
      "src/embedded/",
      // A client's store is an application's file, or its page's database.
      "src/client/indexed-db-store.ts",
      "src/client/for-bun.ts",
      "src/client/for-node.ts",
      "cli/flags/broker-config.ts",
      "cli/output/message-folder.ts",
      "cli/output/standard-output.ts",
      "cli/recording/recording-file.ts",
      "src/net/tcp.ts",
      "src/server/operator-files.ts",
      "src/server/process-files.ts",
      "src/server/process-memory.ts",
    ],
  },
  { what: /\bDate\.now\b|\bperformance\.now\b|new Date\(\)/, only: ["src/base/clock.ts", "src/dashboard/browser.ts"] },
  // What is printed for people is made printable, and is written to its end; but for what a command draws on a
  // terminal, questions, and the broker, which no full disk may end. What an application's own callback has thrown
  // nobody else could be told by the library.
  {
    what: /\bconsole\.(log|error|warn|info)\b|\bprocess\.stderr\.write\b|\bstdout\.write\b/,
    only: ["cli/broker.ts", "cli/passwd.ts", "src/base/log.ts", "src/base/assert.ts", "src/client/announcer.ts"],
  },
  // An invariant is said with assert.
  { what: /assertion failed/, only: ["src/base/assert.ts"] },
  {
    what: /\bMath\.random\b|\bcrypto\./,
    only: ["src/base/random.ts", "src/net/self-signed.ts", "src/client/scram.ts"],
  },
  // Timers of the edges: the machines' alarm, a closing socket, the store's retry,
  // a client's ping and its patience, -W of sub and pub, a balancer's header, the body of an HTTP request,
  // the answer to a WebSocket and its end, the next address of a host,
  // the beat of an answer that goes on, a look at the operator's files; and the door of the dashboard, which is a
  // program of its own.
  {
    what: /\bsetTimeout\(|\bsetInterval\(/,
    only: [
      "src/base/alarm.ts",
      "src/net/tcp.ts",
      "src/net/tcp-transport.ts",
      "src/net/http.ts",
      "src/net/http-stream.ts",
      "src/net/proxy-protocol.ts",
      "src/server/operator-files.ts",
      "src/embedded/worker.ts",
      "src/net/node-tcp.ts",
      "src/net/happy-eyeballs.ts",
      "src/net/web-socket-client.ts",
      "src/net/websocket-upgrade.ts",
      "src/client/connection.ts",
      "src/client/deadlines.ts",
      "src/dashboard/browser.ts",
      "cli/bench/crew.ts",
      "cli/pubsub/subscriber.ts",
      "cli/pub.ts",
    ],
  },
];

/** The folder whose row in `floors` holds for a file. */
export function folderOf(path: string): string {
  if (path.startsWith("cli/")) return "cli";
  return dirname(path).startsWith("src/broker/") ? dirname(path) : path.split("/").slice(0, 2).join("/");
}
