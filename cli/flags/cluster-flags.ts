/** The broker's options for a cluster: ZooKeeper, the other brokers and the links to them. */
import type { OptionSpec } from "./option-spec.ts";
import { integer, parseFlag, parseServers, parseText } from "./parsers.ts";

export const clusterSpecs: readonly OptionSpec[] = [
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
  { key: "linkTls", help: "accept other brokers over TLS alone; both sides show a certificate", parse: parseFlag },
  {
    key: "linkTlsCert",
    value: "FILE",
    help: "certificate to show to other brokers, for the name in --advertise",
    parse: parseText,
    shown: "one that they keep in ZooKeeper",
  },
  { key: "linkTlsKey", value: "FILE", help: "its private key", parse: parseText, shown: "as above" },
  {
    key: "linkTlsCa",
    value: "FILE",
    help: "who signs the certificates of brokers",
    parse: parseText,
    shown: "as above",
  },
];
