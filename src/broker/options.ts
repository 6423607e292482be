/** What an operator may set, with defaults. The command line, the environment and the file all end here. */
import { hostname } from "node:os";
import type { LogFormat, LogLevel } from "../base/log.ts";

export interface BrokerOptions {
  readonly host: string;
  readonly port: number;
  /** Folder of the embedded store. */
  readonly data: string;
  readonly id: string;
  /** ZooKeeper servers and chroot; empty: the embedded store. */
  readonly zk: string;
  /** Keeper session timeout to ask for, in seconds: so long after a broker's death others take its place. */
  readonly zkSessionTimeout: number;
  /** So long a broker that starts looks for ZooKeeper, in seconds. */
  readonly zkWait: number;
  /** Where the other brokers reach this one. */
  readonly linkHost: string;
  readonly linkPort: number;
  /** The name that other brokers and clients are told. */
  readonly advertise: string;
  /** What clients are told when they are sent here; "": advertise and port, "none": nothing. */
  readonly serverReference: string;
  /** How long it takes to send all clients to other brokers at the end, in seconds; 0: they are just disconnected. */
  readonly drainTime: number;
  /** File with the secret that all brokers of the cluster share; empty: links are not authenticated. */
  readonly linkSecretFile: string;
  /** Where probes and metrics are served; port 0: nowhere. */
  readonly httpHost: string;
  readonly httpPort: number;
  /** Largest packet taken from a client, in bytes. */
  readonly maxPacketSize: number;
  readonly maxConnections: number;
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
  /** random: between the two; max: always the longest. */
  readonly bankTtl: "random" | "max";
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
  host: "0.0.0.0",
  port: 1883,
  data: "mqttzoo-data",
  id: hostname(),
  zk: "",
  zkSessionTimeout: 10,
  zkWait: 10,
  linkHost: "0.0.0.0",
  linkPort: 7883,
  advertise: hostname(),
  serverReference: "",
  drainTime: 20,
  linkSecretFile: "",
  httpHost: "0.0.0.0",
  httpPort: 0,
  maxPacketSize: 8 * 1024 * 1024,
  maxConnections: 100_000,
  maxInflight: 1024,
  maxQueued: 50_000,
  keepaliveMax: 65_535,
  sessionExpiryMax: 0xffff_ffff,
  bankCapital: 10_000_000,
  bankTtlMin: 30,
  bankTtlMax: 86_400,
  bankTtl: "random",
  bankWait: 30,
  mailDrop: [],
  settleAfter: 20,
  logLevel: "info",
  logFormat: "text",
};
