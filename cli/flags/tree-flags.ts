/** The flags of tools that look into the tree: where it is, and how to print. */
import { type Command, Option } from "commander";
import type { TreePlace } from "../cluster/open-tree.ts";

/** The place of a tree, and how to print what is found there. */
export interface TreeFlags extends TreePlace {
  readonly json?: boolean;
}

/** Adds a subcommand that looks into the tree. */
export function addCommand(to: Command, name: string, description: string): Command {
  const command = to.command(name).description(description).helpOption("--help", "print this help");
  return withPlace(command).option("--json", "print one JSON object a line");
}

/** Adds the flags by which ZooKeeper is reached, as the broker has them. */
export function withKeeper(command: Command): Command {
  const option = (flags: string, help: string, variable: string): Option => new Option(flags, help).env(variable);
  return command
    .addOption(option("--zk <HOSTS>", "ZooKeeper servers, and the cluster's chroot", "MQTTZOO_ZK"))
    .addOption(option("--zk-auth-file <FILE>", "file with user:password for ZooKeeper", "MQTTZOO_ZK_AUTH_FILE"))
    .addOption(option("--zk-tls-ca <FILE>", "who signs ZooKeeper's certificates: TLS", "MQTTZOO_ZK_TLS_CA"))
    .addOption(option("--zk-tls-cert <FILE>", "certificate to show to ZooKeeper", "MQTTZOO_ZK_TLS_CERT"))
    .addOption(option("--zk-tls-key <FILE>", "its private key", "MQTTZOO_ZK_TLS_KEY"));
}

/** Adds the flags that say where the tree is. */
export function withPlace(command: Command): Command {
  return withKeeper(command).addOption(dataOption());
}

/** Returns the option that names the folder of a broker alone. */
export function dataOption(): Option {
  const help = "folder of a broker that runs alone (default: mqttzoo-data)";
  return new Option("--data <DIR>", help).env("MQTTZOO_DATA");
}
