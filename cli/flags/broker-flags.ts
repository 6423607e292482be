/** The broker's options, each once: its name, what stands behind it, what it means. */

import { checkRange } from "../../src/base/ip-address.ts";
import { bankCapitalCreditsMax } from "../../src/base/limits.ts";
import { logLevels } from "../../src/base/log.ts";
import type { BrokerOptions } from "../../src/broker/core/options.ts";
import {
  duration,
  integer,
  oneOf,
  parseClaim,
  parseDrop,
  parseFlag,
  parseKeySource,
  parsePort,
  parseServers,
  parseText,
  parseUrl,
  size,
} from "./parsers.ts";

export interface OptionSpec {
  readonly key: keyof BrokerOptions;
  /** The name of the value behind the flag; undefined: there is none, it is on or off. */
  readonly value?: string;
  readonly help: string;
  readonly parse: (text: string) => string | number | boolean;
  /** May be given several times; in a variable separated by spaces. */
  readonly isList?: true;
  /** How the default is shown, where that is not its plain text. */
  readonly shown?: string;
}

export const specs: readonly OptionSpec[] = [
  {
    key: "host",
    value: "ADDRESS",
    help: "address to listen on",
    parse: parseText,
    shown: "127.0.0.1; 0.0.0.0 with credentials or --allow-anonymous",
  },
  {
    key: "port",
    value: "PORT",
    help: "TCP port to listen on; 0 chooses a free one, none: no plain TCP",
    parse: parsePort,
  },
  {
    key: "tlsPort",
    value: "PORT",
    help: "port for TLS; needs --tls-cert and --tls-key",
    parse: parsePort,
    shown: "none",
  },
  { key: "wsPort", value: "PORT", help: "port for WebSocket, at /mqtt", parse: parsePort, shown: "none" },
  { key: "wssPort", value: "PORT", help: "port for WebSocket over TLS", parse: parsePort, shown: "none" },
  {
    key: "tlsCert",
    value: "FILE",
    help: "the broker's certificate with its chain, PEM",
    parse: parseText,
    shown: "none",
  },
  { key: "tlsKey", value: "FILE", help: "its private key, PEM", parse: parseText, shown: "none" },
  { key: "tlsCa", value: "FILE", help: "who signs clients' certificates, PEM", parse: parseText, shown: "none" },
  {
    key: "tlsClientCert",
    value: "HOW",
    help: "clients' certificates: off, request (may be shown), require",
    parse: oneOf(["off", "request", "require"]),
  },
  {
    key: "tlsVersionMin",
    value: "VERSION",
    help: "oldest TLS that is spoken: 1.2 or 1.3",
    parse: oneOf(["1.2", "1.3"]),
  },
  {
    key: "tlsIdentity",
    value: "WHAT",
    help: "what of a client's certificate is its user name: cn, san (the first alternative name), none",
    parse: oneOf(["cn", "san", "none"]),
  },
  { key: "socket", value: "PATH", help: "Unix socket to listen on", parse: parseText, shown: "none" },
  {
    key: "proxyProtocol",
    help: "connections begin with a PROXY header, version 1 or 2, of the load balancer before the broker",
    parse: parseFlag,
  },
  {
    key: "proxyFrom",
    value: "CIDR",
    help: "addresses from which PROXY headers are believed, say 10.0.0.0/8; may be given several times; others are refused",
    parse: checkRange,
    isList: true,
    shown: "127.0.0.0/8 and ::1",
  },
  {
    key: "proxyCertificates",
    help: "believe the common name of a client's certificate that a PROXY header, version 2, says was verified",
    parse: parseFlag,
  },
  {
    key: "passwordFile",
    value: "FILE",
    help: "users and their hashed passwords: see mqttzoo passwd; mosquitto's files are read too",
    parse: parseText,
    shown: "none",
  },
  { key: "aclFile", value: "FILE", help: "who may do what, as mosquitto's acl_file", parse: parseText, shown: "none" },
  {
    key: "jwtKey",
    value: "FILE|URL",
    help: "key for JSON Web Tokens as passwords: a file with a JWKS, a public key in PEM, or a secret; or a JWKS's URL",
    parse: parseKeySource,
    shown: "none",
  },
  { key: "jwtAudience", value: "TEXT", help: "audience (aud) that tokens must name", parse: parseText, shown: "any" },
  { key: "jwtIssuer", value: "TEXT", help: "issuer (iss) that tokens must have", parse: parseText, shown: "any" },
  {
    key: "jwtClaim",
    value: "NAME[=VALUE]",
    help: "claim that tokens must have, say exp or role=device; may be given several times",
    parse: parseClaim,
    isList: true,
    shown: "none",
  },
  {
    key: "authHook",
    value: "URL",
    help: "ask this service who may come in (POST, JSON)",
    parse: parseUrl,
    shown: "none",
  },
  { key: "allowAnonymous", help: "let in clients that give no user name", parse: parseFlag },
  { key: "data", value: "DIR", help: "folder of the embedded store", parse: parseText },
  {
    key: "acceptDamage",
    help: "serve what is whole of a damaged embedded store, and say what is lost: what mqttzoo repair does, at each start",
    parse: parseFlag,
  },
  { key: "id", value: "NAME", help: "this broker's name", parse: parseText, shown: "the host name" },
  {
    key: "zk",
    value: "HOSTS",
    help: "join a cluster through these ZooKeeper servers: zk1:2181,zk2:2181,zk3:2181/chroot; without: alone",
    parse: parseServers,
    shown: "none; chroot /mqttzoo",
  },
  {
    key: "zkSessionTimeout",
    value: "SECONDS",
    help: "so long after a broker's death the others take its place",
    parse: integer(1, 600),
  },
  {
    key: "zkWait",
    value: "SECONDS",
    help: "how long to look for ZooKeeper at the start, before the broker ends with an error",
    parse: integer(1, 86_400),
  },
  { key: "linkHost", value: "ADDRESS", help: "address to listen on for the other brokers", parse: parseText },
  {
    key: "linkPort",
    value: "PORT",
    help: "TCP port for the other brokers; 0 chooses a free one",
    parse: integer(0, 65_535),
  },
  {
    key: "zkAuthFile",
    value: "FILE",
    help: "file with user:password for ZooKeeper; what is created there is then closed to everybody else",
    parse: parseText,
    shown: "none",
  },
  {
    key: "zkTlsCa",
    value: "FILE",
    help: "who signs the ZooKeeper servers' certificates: TLS to them",
    parse: parseText,
    shown: "none",
  },
  { key: "zkTlsCert", value: "FILE", help: "certificate to show to ZooKeeper", parse: parseText, shown: "none" },
  { key: "zkTlsKey", value: "FILE", help: "its private key", parse: parseText, shown: "none" },
  {
    key: "advertise",
    value: "HOST",
    help: "the name under which other brokers and clients reach this one",
    parse: parseText,
    shown: "the host name",
  },
  {
    key: "serverReference",
    value: "HOST:PORT",
    help: "where clients reach this broker when others send them here; none: they are told no address",
    parse: parseText,
    shown: "--advertise and --port",
  },
  {
    key: "drainTime",
    value: "SECONDS",
    help: "how long it takes at the end to send clients to other brokers; 0: they are just disconnected",
    parse: integer(0, 3600),
  },
  {
    key: "linkSecretFile",
    value: "FILE",
    help: "file with the secret that all brokers of the cluster share",
    parse: parseText,
    shown: "one that they keep in ZooKeeper",
  },
  {
    key: "httpHost",
    value: "ADDRESS",
    help: "address to listen on for probes and metrics",
    parse: parseText,
  },
  {
    key: "httpPort",
    value: "PORT",
    help: "TCP port for /livez, /readyz, /startupz and /metrics; 0: none",
    parse: integer(0, 65_535),
  },
  {
    key: "httpTokenFile",
    value: "FILE",
    help: "file with the token for what may be changed over HTTP: log level, clients, bans",
    parse: parseText,
    shown: "none: nothing may",
  },
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
    key: "maxRetained",
    value: "N",
    help: "retained messages; 0: as many as the bank pays for",
    parse: integer(0, 100_000_000),
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
    key: "maxInflight",
    value: "N",
    help: "unacknowledged QoS 1 and 2 messages per client, each way",
    parse: integer(1, 65_535),
  },
  { key: "maxQueued", value: "N", help: "messages that wait for one client", parse: integer(1, 10_000_000) },
  {
    key: "keepaliveMax",
    value: "SECONDS",
    help: "longest keep alive; MQTT 5 clients are told",
    parse: integer(1, 65_535),
  },
  {
    key: "sessionExpiryMax",
    value: "SECONDS",
    help: "longest life of a session without its client; 4294967295: for ever",
    parse: integer(0, 0xffff_ffff),
  },
  {
    key: "bankCapital",
    value: "CREDITS",
    help: "credits that a new bank begins with; 1 credit keeps 25 bytes",
    parse: integer(1, bankCapitalCreditsMax),
  },
  {
    key: "bankTtlMin",
    value: "SECONDS",
    help: "shortest time that a stored message is kept, if its publisher does not say",
    parse: duration(1, 31_536_000),
  },
  {
    key: "bankTtlMax",
    value: "SECONDS",
    help: "longest time that a stored message is kept, if its publisher does not say",
    parse: duration(1, 31_536_000),
  },
  {
    key: "bankTtl",
    value: "HOW",
    help: "drops: by chance between the two in mail drops, the longest for sessions; random: by chance; max: the longest",
    parse: oneOf(["drops", "random", "max"]),
  },
  {
    key: "bankWait",
    value: "SECONDS",
    help: "how long a publish that the bank cannot pay is held before MQTT 5",
    parse: integer(0, 3600),
  },
  {
    key: "mailDrop",
    value: "FILTER",
    help: "store what is published on these topics, for whoever subscribes later; may be given several times",
    parse: parseDrop,
    isList: true,
    shown: "none",
  },
  {
    key: "settleAfter",
    value: "MS",
    help: "a connected subscriber that has not acknowledged by then has the message stored",
    parse: integer(1, 60_000),
  },
  {
    key: "logLevel",
    value: "LEVEL",
    help: `least level that is logged: ${logLevels.join(", ")}`,
    parse: oneOf(logLevels),
  },
  { key: "logFormat", value: "FORMAT", help: "text for people, json for programs", parse: oneOf(["text", "json"]) },
];
