/** The flags of commands that ask a broker over its API: which broker, and as whom. */
import { type Command, Option } from "commander";
import { argument, parseUrl } from "./parsers.ts";

/** Gives a command the flags of `ApiPlace`, and --json. */
export function withPlace(command: Command): Command {
  return command
    .helpOption("--help", "print this help")
    .addOption(
      new Option("--api <URL>", "a broker's --http-port (env: MQTTZOO_API)")
        .env("MQTTZOO_API")
        .argParser(argument(parseUrl)),
    )
    .addOption(
      new Option("--cafile <FILE>", "who has signed its certificate, PEM, for https:// (env: MQTTZOO_CAFILE)").env(
        "MQTTZOO_CAFILE",
      ),
    )
    .addOption(
      new Option("--token-file <FILE>", "file with a token for it (env: MQTTZOO_TOKEN_FILE)").env("MQTTZOO_TOKEN_FILE"),
    )
    .addOption(
      new Option("--data <DIR>", "folder of a broker that runs alone (default: mqttzoo-data; env: MQTTZOO_DATA)").env(
        "MQTTZOO_DATA",
      ),
    )
    .option("--json", "print one JSON object a line");
}
