/** The flags that `pub` and `sub` share, as mosquitto's clients have them. */
import { type Command, InvalidArgumentError } from "commander";
import type { ClientOptions } from "../src/client/client.ts";
import type { ProtocolVersion, QoS } from "../src/mqtt/constants.ts";

export interface ConnectionFlags {
  readonly host: string;
  readonly port: number;
  readonly qos: QoS;
  readonly id?: string;
  readonly username?: string;
  readonly pw?: string;
  readonly protocolVersion: ProtocolVersion;
}

export function addConnectionOptions(command: Command): Command {
  return command
    .helpOption("--help", "print this help")
    .option("-h, --host <HOST>", "broker to connect to", "localhost")
    .option("-p, --port <PORT>", "its port", wholeNumber(1, 65_535), 1883)
    .option("-q, --qos <QOS>", "quality of service: 0, 1 or 2", wholeNumber(0, 2), 0)
    .option("-i, --id <ID>", "client id (default: the broker assigns one)")
    .option("-u, --username <NAME>", "user name")
    .option("-P, --pw <PASSWORD>", "password")
    .option("-V, --protocol-version <VERSION>", "5, 311 or 31, also as mqttv5, mqttv311, mqttv31", protocolVersion, 5);
}

export function toClientOptions(flags: ConnectionFlags): ClientOptions {
  return {
    host: flags.host,
    port: flags.port,
    version: flags.protocolVersion,
    ...(flags.id === undefined ? {} : { clientId: flags.id }),
    ...(flags.username === undefined ? {} : { username: flags.username }),
    ...(flags.pw === undefined ? {} : { password: flags.pw }),
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
