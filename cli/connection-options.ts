/** The flags that `pub` and `sub` share, as mosquitto's clients have them. */
import { type Command, InvalidArgumentError } from "commander";
import { OperatingError } from "../src/base/errors.ts";
import { readSecret, readText } from "../src/broker/files.ts";
import type { ClientOptions } from "../src/client/client.ts";
import type { ProtocolVersion, QoS } from "../src/mqtt/constants.ts";

export interface ConnectionFlags {
  readonly host: string;
  readonly port?: number;
  readonly qos: QoS;
  readonly id?: string;
  readonly username?: string;
  readonly pw?: string;
  readonly pwFile?: string;
  readonly cafile?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly insecure?: boolean;
  readonly tlsUseOsCerts?: boolean;
  readonly protocolVersion: ProtocolVersion;
}

export function addConnectionOptions(command: Command): Command {
  return command
    .helpOption("--help", "print this help")
    .option("-h, --host <HOST>", "broker to connect to", "localhost")
    .option("-p, --port <PORT>", "its port (default: 1883, or 8883 with TLS)", wholeNumber(1, 65_535))
    .option("-q, --qos <QOS>", "quality of service: 0, 1 or 2", wholeNumber(0, 2), 0)
    .option("-i, --id <ID>", "client id (default: the broker assigns one)")
    .option("-u, --username <NAME>", "user name")
    .option("-P, --pw <PASSWORD>", "password; others can see it in the list of processes, so rather:")
    .option("--pw-file <FILE>", "file with the password (also env: MQTTZOO_PASSWORD)")
    .option("--cafile <FILE>", "TLS: who has signed the broker's certificate, PEM")
    .option("--tls-use-os-certs", "TLS: trust whom the system trusts")
    .option("--cert <FILE>", "TLS: certificate to show, PEM")
    .option("--key <FILE>", "TLS: its private key, PEM")
    .option("--insecure", "TLS: believe the broker whatever its certificate says")
    .option("-V, --protocol-version <VERSION>", "5, 311 or 31, also as mqttv5, mqttv311, mqttv31", protocolVersion, 5);
}

/** Throws `OperatingError` for a file that cannot be read. */
export function toClientOptions(flags: ConnectionFlags): ClientOptions {
  const tls = tlsOf(flags);
  const password = flags.pw ?? readSecret(flags.pwFile ?? "") ?? process.env.MQTTZOO_PASSWORD;
  return {
    host: flags.host,
    port: flags.port ?? (tls === undefined ? 1883 : 8883),
    ...(tls === undefined ? {} : { tls }),
    version: flags.protocolVersion,
    ...(flags.id === undefined ? {} : { clientId: flags.id }),
    ...(flags.username === undefined ? {} : { username: flags.username }),
    ...(password === undefined ? {} : { password }),
  };
}

/** TLS is spoken where anything is said of it. */
function tlsOf({ cafile, cert, key, insecure, tlsUseOsCerts }: ConnectionFlags): ClientOptions["tls"] {
  if ((cert === undefined) !== (key === undefined)) throw new OperatingError("EUSAGE", "--cert and --key go together");
  if (cafile === undefined && cert === undefined && insecure !== true && tlsUseOsCerts !== true) return undefined;
  return {
    ...(cafile === undefined ? {} : { ca: readText(cafile) }),
    ...(cert === undefined ? {} : { cert: readText(cert), key: readText(key!) }),
    ...(insecure === true ? { isInsecure: true } : {}),
  };
}

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max))
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    return value;
  };
}

function protocolVersion(text: string): ProtocolVersion {
  const version = { "5": 5, mqttv5: 5, "311": 4, mqttv311: 4, "31": 3, mqttv31: 3 }[text];
  if (version === undefined) throw new InvalidArgumentError("It must be 5, 311 or 31.");
  return version as ProtocolVersion;
}
