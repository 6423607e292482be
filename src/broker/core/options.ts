/** What an operator may set, with defaults. The command line, the environment and the file all end here. */
import { hostname } from "node:os";
import type { TtlPolicy } from "../../bank/price.ts";
import type { LogFormat, LogLevel } from "../../base/log.ts";
import type { ClientCertificates } from "../../net/tls.ts";
import type { TlsVersion } from "../../net/transport.ts";

export interface BrokerOptions {
  /** "": this machine alone, or everywhere once clients are told apart or anybody is welcome. */
  readonly host: string;
  readonly port: number;
  /** Ports for TLS, WebSocket and WebSocket over TLS; -1: none, 0: any that is free. `port` may be -1, too. */
  readonly tlsPort: number;
  readonly wsPort: number;
  readonly wssPort: number;
  /** PEM files: certificate (with its chain) and key of the broker, and who signs clients' certificates. */
  readonly tlsCert: string;
  readonly tlsKey: string;
  readonly tlsCa: string;
  readonly tlsClientCert: ClientCertificates;
  /** Oldest version of TLS that is spoken. */
  readonly tlsVersionMin: TlsVersion;
  /** What of a client's certificate is its user name: common name, first alternative name, nothing. */
  readonly tlsIdentity: "cn" | "san" | "none";
  /** Path of a Unix socket to listen on; empty: none. */
  readonly socket: string;
  /** All connections but those of TLS and the Unix socket begin with a PROXY header. */
  readonly proxyProtocol: boolean;
  /** Users and hashed passwords; who may do what; key for tokens. */
  readonly passwordFile: string;
  readonly aclFile: string;
  readonly jwtKey: string;
  /** Service that is asked who may come in; empty: none. */
  readonly authHook: string;
  readonly allowAnonymous: boolean;
  /** Folder of the embedded store. */
  readonly data: string;
  /** Serve what is whole of an embedded store that is damaged. */
  readonly acceptDamage: boolean;
  readonly id: string;
  /** ZooKeeper servers and chroot; empty: the embedded store. */
  readonly zk: string;
  /** Keeper session timeout to ask for, in seconds: so long after a broker's death others take its place. */
  readonly zkSessionTimeout: number;
  /** So long a broker that starts looks for ZooKeeper, in seconds. */
  readonly zkWait: number;
  /** File with user:password for ZooKeeper's digest scheme; empty: none, and everybody may read the tree. */
  readonly zkAuthFile: string;
  /** PEM files for TLS to ZooKeeper: who signs its certificates (empty: no TLS), and what we show. */
  readonly zkTlsCa: string;
  readonly zkTlsCert: string;
  readonly zkTlsKey: string;
  /** Where the other brokers reach this one. */
  readonly linkHost: string;
  readonly linkPort: number;
  /** The name that other brokers and clients are told. */
  readonly advertise: string;
  /** What clients are told when they are sent here; "": advertise and port, "none": nothing. */
  readonly serverReference: string;
  /** How long it takes to send all clients to other brokers at the end, in seconds; 0: they are just disconnected. */
  readonly drainTime: number;
  /** File with the secret that all brokers of the cluster share; empty: one that they keep in the tree. */
  readonly linkSecretFile: string;
  /** Where probes and metrics are served; port 0: nowhere. */
  readonly httpHost: string;
  readonly httpPort: number;
  /** File with the token for what may be changed over HTTP; empty: nothing may. */
  readonly httpTokenFile: string;
  /** Largest packet taken from a client, in bytes. */
  readonly maxPacketSize: number;
  readonly maxConnections: number;
  /** Connections of one address (of IPv6: a /64); 0: as many as come. */
  readonly maxConnectionsPerAddress: number;
  /** New connections per second; 0: as many as come. */
  readonly connectRate: number;
  /** What one client may publish per second, in messages and in bytes; 0: as much as it likes. */
  readonly maxMessageRate: number;
  readonly maxByteRate: number;
  /** Filters in one session. */
  readonly maxSubscriptions: number;
  /** Retained messages, of the whole cluster; 0: as many as the bank pays for. */
  readonly maxRetained: number;
  /** Bytes of what waits in memory for slow clients: in queues so much, and in output so much. */
  readonly maxQueueMemory: number;
  /** So many failed logins within `banTime` seconds have an address banned for as long; 0: never. */
  readonly banAfter: number;
  readonly banTime: number;
  /** QoS 1 and 2 messages in flight per client, each way: the broker's Receive Maximum. */
  readonly maxInflight: number;
  /** Messages that wait for one client. */
  readonly maxQueued: number;
  /** Largest keep alive in seconds; MQTT 5 clients are told. */
  readonly keepaliveMax: number;
  /** Largest Session Expiry Interval in seconds; 4294967295: sessions may last for ever. */
  readonly sessionExpiryMax: number;
  /** Credits that a new bank begins with. */
  readonly bankCapital: number;
  /** Shortest and longest time to live of a stored message whose publisher gave none, in seconds. */
  readonly bankTtlMin: number;
  readonly bankTtlMax: number;
  /** Whose time is drawn between the two. drops: mail drops' only; random: all; max: none, it is always the longest. */
  readonly bankTtl: TtlPolicy;
  /** So long a publish that the bank cannot pay is held before MQTT 5, in seconds. */
  readonly bankWait: number;
  /** Filters of topics whose messages are stored for whoever subscribes later. */
  readonly mailDrop: readonly string[];
  /** A persistent subscriber that has not acknowledged by then has the message stored, in ms. */
  readonly settleAfter: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

export const defaultOptions: BrokerOptions = {
  host: "",
  port: 1883,
  tlsPort: -1,
  wsPort: -1,
  wssPort: -1,
  tlsCert: "",
  tlsKey: "",
  tlsCa: "",
  tlsClientCert: "off",
  tlsVersionMin: "1.2",
  tlsIdentity: "cn",
  socket: "",
  proxyProtocol: false,
  passwordFile: "",
  aclFile: "",
  jwtKey: "",
  authHook: "",
  allowAnonymous: false,
  data: "mqttzoo-data",
  acceptDamage: false,
  id: hostname(),
  zk: "",
  zkSessionTimeout: 10,
  zkWait: 10,
  zkAuthFile: "",
  zkTlsCa: "",
  zkTlsCert: "",
  zkTlsKey: "",
  linkHost: "0.0.0.0",
  linkPort: 7883,
  advertise: hostname(),
  serverReference: "",
  drainTime: 20,
  linkSecretFile: "",
  httpHost: "0.0.0.0",
  httpPort: 0,
  httpTokenFile: "",
  maxPacketSize: 8 * 1024 * 1024,
  maxConnections: 100_000,
  maxConnectionsPerAddress: 0,
  connectRate: 0,
  maxMessageRate: 0,
  maxByteRate: 0,
  maxSubscriptions: 100_000,
  maxRetained: 0,
  maxQueueMemory: 1024 * 1024 * 1024,
  banAfter: 20,
  banTime: 60,
  maxInflight: 1024,
  maxQueued: 50_000,
  keepaliveMax: 65_535,
  sessionExpiryMax: 0xffff_ffff,
  bankCapital: 10_000_000,
  bankTtlMin: 30,
  bankTtlMax: 86_400,
  bankTtl: "drops",
  bankWait: 30,
  mailDrop: [],
  settleAfter: 20,
  logLevel: "info",
  logFormat: "text",
};
