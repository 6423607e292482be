/**
 * The broker's options, with their defaults. The command line, the environment and the configuration file all end here.
 */
import { hostname } from "node:os";
import type { TtlPolicy } from "../../bank/price.ts";
import type { LogFormat, LogLevel } from "../../base/log.ts";
import type { ClientCertificates } from "../../net/tls.ts";
import type { TlsVersion } from "../../net/transport.ts";

/** The settings of one broker. `cli/README.md` describes each under its flag: `maxQueued` is `--max-queued`. */
export interface BrokerOptions {
  /**
   * Address to listen on. "": loopback alone, or every address once clients must log in or anonymous ones are allowed.
   */
  readonly host: string;
  /** TCP port for MQTT; 0: any that is free, -1: none. */
  readonly port: number;
  /** Ports for TLS, WebSocket, and WebSocket over TLS; -1: none, 0: any that is free. */
  readonly tlsPort: number;
  readonly wsPort: number;
  readonly wssPort: number;
  /**
   * PEM files: the broker's certificate (with its chain), its key, and the authorities that sign clients' certificates.
   */
  readonly tlsCert: string;
  readonly tlsKey: string;
  readonly tlsCa: string;
  /** File of lists of revoked certificates; "": it is not asked whether clients' certificates have been revoked. */
  readonly tlsCrl: string;
  /** Whether clients must show a certificate. */
  readonly tlsClientCert: ClientCertificates;
  /** Oldest version of TLS that is accepted. */
  readonly tlsVersionMin: TlsVersion;
  /**
   * The part of a client's certificate that becomes its user name: common name, first alternative name of a kind
   * ("san": DNS name), or none.
   */
  readonly tlsIdentity: "cn" | "san" | "san-email" | "san-uri" | "san-ip" | "none";
  /** UDP port for MQTT-SN; -1: none, 0: any that is free. */
  readonly snPort: number;
  /** File of predefined topic ids; "": none. */
  readonly snTopics: string;
  /** The user as whom clients of MQTT-SN come, who cannot log in; "": they have no name. */
  readonly snUser: string;
  /** The user as whom is published without a connection (QoS -1); "": nobody may. */
  readonly snPublishAnonymous: string;
  /** Multicast group, `ADDRESS:PORT`, in which clients look for the broker and hear of it; "": none. */
  readonly snMulticast: string;
  /** The broker's number among the gateways of a network, 0…255. */
  readonly snGatewayId: number;
  /** True: a client of MQTT-SN without a key is served at no other IP address than that of its CONNECT. */
  readonly snFixedAddresses: boolean;
  /** Bytes of the largest datagram that is sent to a client. */
  readonly snMtu: number;
  /** Pause before a message to a client is sent again, in ms; it grows with each time. */
  readonly snRetry: number;
  /** True: MQTT-SN 2.0, a draft, is spoken as well. */
  readonly sn2: boolean;
  /** File with the keys of devices that protect what they send (MQTT-SN 2.0); "": none. */
  readonly snKeys: string;
  /** Path of a Unix socket to listen on; "": none. */
  readonly socket: string;
  /** True if all connections but those of TLS and the Unix socket begin with a PROXY header. */
  readonly proxyProtocol: boolean;
  /** Ranges of addresses from which PROXY headers are believed; none named: loopback. */
  readonly proxyFrom: readonly string[];
  /** True if the name of a certificate is believed that a PROXY header says the proxy has verified. */
  readonly proxyCertificates: boolean;
  /**
   * Files with users and hashed passwords, with the access list, and with the key that verifies tokens (or the URL of a
   * key set); "": none.
   */
  readonly passwordFile: string;
  readonly aclFile: string;
  readonly jwtKey: string;
  /** The terms for tokens: an audience, an issuer ("": any, or none), and claims as `NAME` or `NAME=VALUE`. */
  readonly jwtAudience: string;
  readonly jwtIssuer: string;
  readonly jwtClaim: readonly string[];
  /** URL of a service that decides on logins; "": none. */
  readonly authHook: string;
  /** The beginning that client ids must have; %u stands for the user name. "": any will do. */
  readonly clientIdPrefix: string;
  /** True if clients may connect without user name and password. */
  readonly allowAnonymous: boolean;
  /** Folder of the embedded store. */
  readonly data: string;
  /** True if a damaged embedded store is served as far as it is whole. */
  readonly acceptDamage: boolean;
  /** The broker's id, unique in its cluster. */
  readonly id: string;
  /** ZooKeeper servers and chroot; "": the embedded store. */
  readonly zk: string;
  /** Session timeout asked of ZooKeeper, in seconds: others replace a broker that long after its death. */
  readonly zkSessionTimeout: number;
  /** How long a starting broker tries to reach ZooKeeper, in seconds. */
  readonly zkWait: number;
  /** File with user:password for ZooKeeper's digest scheme; "": none, and the tree is open to everybody. */
  readonly zkAuthFile: string;
  /**
   * PEM files for TLS to ZooKeeper: the authorities of its certificates ("": no TLS), and the broker's own certificate
   * and key.
   */
  readonly zkTlsCa: string;
  readonly zkTlsCert: string;
  readonly zkTlsKey: string;
  /** Address and port at which the broker listens for other brokers. */
  readonly linkHost: string;
  readonly linkPort: number;
  /** Host name under which other brokers, and clients that are sent here, reach this broker. */
  readonly advertise: string;
  /** Server Reference for clients that are sent to this broker; "": `advertise` and `port`, "none": nothing. */
  readonly serverReference: string;
  /** Time over which a leaving broker sends its clients to others, in seconds; 0: they are just disconnected. */
  readonly drainTime: number;
  /** File with the secret that all brokers of the cluster share; "": one that they keep in the tree. */
  readonly linkSecretFile: string;
  /** True: other brokers are accepted over TLS alone. */
  readonly linkTls: boolean;
  /** PEM files that brokers show each other, and who signs them: all three, or "": one that they keep in the tree. */
  readonly linkTlsCert: string;
  readonly linkTlsKey: string;
  readonly linkTlsCa: string;
  /** Address and port of the HTTP server for probes and metrics; port 0: none. */
  readonly httpHost: string;
  readonly httpPort: number;
  /** True: HTTP is spoken over TLS alone, with the certificate that clients are shown. */
  readonly httpTls: boolean;
  /** File with the token that HTTP requests for changes must show; "": nothing may be changed over HTTP. */
  readonly httpTokenFile: string;
  /** File of the users of the HTTP API, with their roles; "": there are none. */
  readonly httpUsers: string;
  /** File to which every change over the HTTP API is written, a line of JSON each; "": none. */
  readonly auditLog: string;
  /** URL of the OpenTelemetry collector that is sent traces, metrics and the log, over OTLP/HTTP; "": none is. */
  readonly otlp: string;
  /** The part of messages for which a trace is begun where their senders record none, in percent. */
  readonly otlpSample: number;
  /** Largest packet accepted from a client, in bytes. */
  readonly maxPacketSize: number;
  /** Most client connections at once. */
  readonly maxConnections: number;
  /** Most connections from one address (of IPv6: one /64); 0: no limit. */
  readonly maxConnectionsPerAddress: number;
  /** Most new connections per second; 0: no limit. */
  readonly connectRate: number;
  /** Most messages, and bytes, that one client may publish per second; 0: no limit. */
  readonly maxMessageRate: number;
  readonly maxByteRate: number;
  /** Most subscriptions of one session. */
  readonly maxSubscriptions: number;
  /** Most levels of a topic that a client publishes on, or of a filter. */
  readonly topicLevelsMax: number;
  /** Most bytes of a filter in a session that outlives its connection. */
  readonly filterBytesMax: number;
  /** Most retained messages of the whole cluster; 0: as many as the bank pays for. */
  readonly maxRetained: number;
  /** Most bytes of memory that one client may take. */
  readonly maxMemoryPerClient: number;
  /** Most bytes of memory that one user's clients may take together; 0: no limit. */
  readonly maxMemoryPerUser: number;
  /** Most bytes of memory that the process may have; auto: by the limit of its control group, if that has one. */
  readonly maxMemory: number | "auto" | "none";
  /** Most bytes that wait in memory for slow clients: that many in queues, and that many in output buffers. */
  readonly maxQueueMemory: number;
  /** Failed logins of one address, or user, within `banTime` seconds that have it banned for as long; 0: never. */
  readonly banAfter: number;
  readonly banTime: number;
  /** File with the addresses, users and client ids that are banned for good; "": none. */
  readonly banFile: string;
  /** QoS 1 and 2 messages in flight per client, in each direction: the broker's Receive Maximum. */
  readonly maxInflight: number;
  /** Most messages that wait for one client. */
  readonly maxQueued: number;
  /** The fate of a persistent session for which so many wait: "end" it, or "refuse" publishes to it. */
  readonly mailboxFull: "end" | "refuse";
  /** Longest Keep Alive, in seconds, of any version; MQTT 5 clients are told (Server Keep Alive). */
  readonly keepaliveMax: number;
  /** Longest Session Expiry Interval, in seconds; 4294967295: sessions may last for ever. */
  readonly sessionExpiryMax: number;
  /** Credits that a new bank is founded with. */
  readonly bankCapital: number;
  /** Shortest and longest lifetime of a stored message whose publisher gave none, in seconds. */
  readonly bankTtlMin: number;
  readonly bankTtlMax: number;
  /**
   * Messages whose lifetime is drawn at random between the two: "drops", those in mail drops; "random", all; "max",
   * none.
   */
  readonly bankTtl: TtlPolicy;
  /**
   * The part of the capital that what is stored for one user may bind, in percent; 100: all of it. 0: 25 where there
   * may be several users, otherwise 100.
   */
  readonly bankShare: number;
  /** How long the publish of a client before MQTT 5 is held when the bank cannot pay it, in seconds. */
  readonly bankWait: number;
  /** Filters of topics whose messages are stored for later subscribers. */
  readonly mailDrop: readonly string[];
  /** Time after which a message is stored that a persistent subscriber has not acknowledged, in ms. */
  readonly settleAfter: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/** The options of a broker for which nothing is set. */
export const defaultOptions: BrokerOptions = {
  host: "",
  port: 1883,
  tlsPort: -1,
  wsPort: -1,
  wssPort: -1,
  tlsCert: "",
  tlsKey: "",
  tlsCa: "",
  tlsCrl: "",
  tlsClientCert: "off",
  tlsVersionMin: "1.2",
  tlsIdentity: "cn",
  snPort: -1,
  snTopics: "",
  snUser: "",
  snPublishAnonymous: "",
  snMulticast: "",
  snGatewayId: 1,
  snFixedAddresses: false,
  snMtu: 1_232,
  snRetry: 10_000,
  sn2: false,
  snKeys: "",
  socket: "",
  proxyProtocol: false,
  proxyFrom: [],
  proxyCertificates: false,
  passwordFile: "",
  aclFile: "",
  jwtKey: "",
  jwtAudience: "",
  jwtIssuer: "",
  jwtClaim: [],
  authHook: "",
  clientIdPrefix: "",
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
  linkTls: false,
  linkTlsCert: "",
  linkTlsKey: "",
  linkTlsCa: "",
  httpHost: "0.0.0.0",
  httpPort: 0,
  httpTls: false,
  httpTokenFile: "",
  httpUsers: "",
  auditLog: "",
  otlp: "",
  otlpSample: 1,
  maxPacketSize: 8 * 1024 * 1024,
  maxConnections: 100_000,
  maxConnectionsPerAddress: 0,
  connectRate: 0,
  maxMessageRate: 0,
  maxByteRate: 0,
  maxSubscriptions: 100_000,
  topicLevelsMax: 32,
  filterBytesMax: 4096,
  maxRetained: 0,
  maxMemoryPerClient: 640 * 1024 * 1024,
  maxMemoryPerUser: 0,
  maxMemory: "auto",
  maxQueueMemory: 1024 * 1024 * 1024,
  banAfter: 20,
  banTime: 60,
  banFile: "",
  maxInflight: 1024,
  maxQueued: 50_000,
  mailboxFull: "end",
  keepaliveMax: 65_535,
  sessionExpiryMax: 7 * 86_400,
  bankCapital: 10_000_000,
  bankTtlMin: 30,
  bankTtlMax: 86_400,
  bankTtl: "drops",
  bankShare: 0,
  bankWait: 30,
  mailDrop: [],
  settleAfter: 20,
  logLevel: "info",
  logFormat: "text",
};
