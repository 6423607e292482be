/** The broker's options that are limits on clients: their connections, packets, rates, subscriptions and memory. */
import { topicLevelsMax } from "../../src/base/limits.ts";
import type { OptionSpec } from "./option-spec.ts";
import { duration, integer, parseMemory, parseText, size } from "./parsers.ts";

export const limitSpecs: readonly OptionSpec[] = [
  {
    key: "maxPacketSize",
    value: "BYTES",
    help: "largest packet taken from a client; 64k, 8M",
    parse: size(1024, 268_435_460),
    shown: "8M",
  },
  { key: "maxConnections", value: "N", help: "clients connected at once", parse: integer(1, 10_000_000) },
  {
    key: "maxConnectionsPerAddress",
    value: "N",
    help: "connections of one address; 0: as many as come",
    parse: integer(0, 10_000_000),
  },
  {
    key: "connectRate",
    value: "N",
    help: "new connections per second; 0: as many as come",
    parse: integer(0, 1_000_000),
  },
  {
    key: "maxMessageRate",
    value: "N",
    help: "messages that one client may publish per second; it is read more slowly then; 0: as many as it likes",
    parse: integer(0, 100_000_000),
  },
  {
    key: "maxByteRate",
    value: "BYTES",
    help: "bytes that one client may publish per second; 0: as many as it likes",
    parse: size(0, 1_073_741_824),
  },
  { key: "maxSubscriptions", value: "N", help: "topic filters in one session", parse: integer(1, 10_000_000) },
  {
    key: "topicLevelsMax",
    value: "N",
    help: "levels of a topic that is published on, and of a topic filter",
    parse: integer(1, topicLevelsMax),
  },
  {
    key: "filterBytesMax",
    value: "BYTES",
    help: "bytes of a topic filter in a session that outlives its connection",
    parse: size(1, 65_535),
  },
  {
    key: "maxRetained",
    value: "N",
    help: "retained messages; 0: as many as the bank pays for",
    parse: integer(0, 100_000_000),
  },
  {
    key: "maxMemoryPerClient",
    value: "BYTES",
    help: "memory that one client may take: what it has sent, what waits for it, its subscriptions",
    parse: size(1024 * 1024, 1_099_511_627_776),
    shown: "640M",
  },
  {
    key: "maxMemoryPerUser",
    value: "BYTES",
    help: "memory that a user's clients may take together (of those without a name: an address'); 0: no limit",
    parse: size(0, 1_099_511_627_776),
  },
  {
    key: "maxMemory",
    value: "BYTES",
    help: "memory of the broker: whose clients take most is refused near it, then disconnected; auto, none, 512M",
    parse: parseMemory,
    shown: "auto: by the limit of its control group",
  },
  {
    key: "maxQueueMemory",
    value: "BYTES",
    help: "memory for what waits for slow clients: queues may take so much, and unsent output as much",
    parse: size(1024 * 1024, 1_099_511_627_776),
    shown: "1G",
  },
  {
    key: "banAfter",
    value: "N",
    help: "failed logins that have an address, or a user, banned; 0: never",
    parse: integer(0, 1_000_000),
  },
  {
    key: "banTime",
    value: "SECONDS",
    help: "within which they count, and how long the ban lasts",
    parse: duration(1, 31_536_000),
  },
  {
    key: "banFile",
    value: "FILE",
    help: "who is banned for good, a line each: address 203.0.113.0/24, user NAME, client ID; changes over HTTP go there",
    parse: parseText,
    shown: "none",
  },
  {
    key: "maxInflight",
    value: "N",
    help: "unacknowledged QoS 1 and 2 messages per client, each way",
    parse: integer(1, 65_535),
  },
  { key: "maxQueued", value: "N", help: "messages that wait for one client", parse: integer(1, 10_000_000) },
];
