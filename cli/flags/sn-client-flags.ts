/** Flags that MQTT-SN has no place for: with `--sn` they are refused in words, not passed over. */
import { OperatingError } from "../../src/base/errors.ts";

/** The flags by their names in commander, as they are written, and why they are none of MQTT-SN's. */
const notSn: Record<string, readonly [string, string]> = {
  username: ["-u", "MQTT-SN knows no users: all its clients come as the broker's --sn-user"],
  pw: ["-P", "MQTT-SN knows no passwords"],
  pwFile: ["--pw-file", "MQTT-SN knows no passwords"],
  authMethod: ["--auth-method", "MQTT-SN 1.2 knows no passwords"],
  srv: ["--srv", "SRV records are of MQTT over TCP"],
  cafile: ["--cafile", "there is no TLS over UDP"],
  capath: ["--capath", "there is no TLS over UDP"],
  cert: ["--cert", "there is no TLS over UDP"],
  key: ["--key", "there is no TLS over UDP"],
  keyPassphraseFile: ["--key-passphrase-file", "there is no TLS over UDP"],
  ciphers: ["--ciphers", "there is no TLS over UDP"],
  tlsVersion: ["--tls-version", "there is no TLS over UDP"],
  tlsAlpn: ["--tls-alpn", "there is no TLS over UDP"],
  tlsUseOsCerts: ["--tls-use-os-certs", "there is no TLS over UDP"],
  insecure: ["--insecure", "there is no TLS over UDP"],
  ssl: ["-S", "there is no TLS over UDP"],
  zk: ["--zk", "ZooKeeper knows where brokers take MQTT, not MQTT-SN; name the broker with -h"],
  bind: ["--bind", "the system chooses"],
  proxy: ["--proxy", "SOCKS carries TCP"],
  ws: ["--ws", "it is spoken over UDP"],
  wsPath: ["--ws-path", "it is spoken over UDP"],
  wsHeader: ["--ws-header", "it is spoken over UDP"],
  unix: ["--unix", "it is spoken over UDP"],
  url: ["-L", "name the broker with -h and -p"],
  sessionExpiryInterval: ["-x", "sessions of MQTT-SN 1.2 have none; -c keeps the session"],
  protocolVersion: ["-V", "it is MQTT-SN 1.2"],
  property: ["-D", "properties are of MQTT 5"],
  request: ["--request", "it needs MQTT 5"],
  respond: ["--respond", "it needs MQTT 5"],
  retainAsPublished: ["--retain-as-published", "it needs MQTT 5"],
};

/** Throws `OperatingError` (EUSAGE) for the first flag that does not go with `--sn`. */
export function refuseWithSn(flags: object): void {
  for (const [name, [flag, why]] of Object.entries(notSn)) {
    const given = (flags as Record<string, unknown>)[name];
    if (given !== undefined && given !== false)
      throw new OperatingError("EUSAGE", `--sn does not go with ${flag}: ${why}`);
  }
}
