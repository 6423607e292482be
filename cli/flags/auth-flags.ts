/** The flags by which tools prove who they are without telling the password (MQTT 5, 4.12; SCRAM). */
import { type Command, Option } from "commander";
import type { ConnectionOptions } from "../../src/client/connection-options.ts";
import { scramLogin, scramMethod } from "../../src/client/scram.ts";
import { usage } from "./parsers.ts";

export interface AuthFlags {
  readonly authMethod?: string;
}

export function addAuthOptions(command: Command): Command {
  return command.addOption(
    new Option("--auth-method <METHOD>", "prove the password, and do not send it (MQTT 5)").choices([scramMethod]),
  );
}

/** The user as whom a connection is made, told or proved. */
export type UserOptions = Pick<ConnectionOptions, "username" | "password" | "login">;

/**
 * Gives the options of connections a user. An exchange proves one connection: each time that the options are copied
 * there is a new one among them. Throws `OperatingError` (EUSAGE).
 */
export function withUser<Options extends object>(
  options: Options,
  { authMethod }: AuthFlags,
  { username, password }: { readonly username?: string | undefined; readonly password?: string | undefined },
): Options & UserOptions {
  if (authMethod === undefined)
    return {
      ...options,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
    };
  if (username === undefined || password === undefined)
    usage("--auth-method needs a user and a password: -u, --pw-file");
  return Object.defineProperty({ ...options, version: 5 }, "login", {
    enumerable: true,
    get: () => scramLogin(username!, password!),
  });
}
