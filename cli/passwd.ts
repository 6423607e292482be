/** `mqttzoo passwd`: users and their passwords, in the files of `--password-file` and `--http-users`. */
import { Command, Option } from "commander";
import { hashForScram, hashPassword } from "../src/access/hashes.ts";
import { parsePasswordFile, whyNoUserName, withUser } from "../src/access/password-file.ts";
import { parseRoleFile, type Role, roles } from "../src/access/role-file.ts";
import { OperatingError } from "../src/base/errors.ts";
import { isThere, readText, replaceText } from "../src/server/operator-files.ts";

interface Flags {
  readonly delete?: boolean;
  readonly scram?: boolean;
  readonly role?: Role;
}

export function passwdCommand(): Command {
  return new Command("passwd")
    .description("Add a user to a password file, change a password, or remove a user.")
    .helpOption("--help", "print this help")
    .argument("<FILE>", "the file; it is made if it is not there")
    .argument("<USER>", "name of the user")
    .option("--delete", "remove the user")
    .option(
      "--scram",
      "for clients that prove the password without sending it (SCRAM-SHA-256); others may use it as well",
    )
    .addOption(
      new Option("--role <ROLE>", "for a file of --http-users: what the user may do over the HTTP API").choices(roles),
    )
    .addHelpText(
      "after",
      `
The password is asked for on the terminal, or read from standard input: never from the command line, where others could
see it. A running broker reads the file again by itself.

Examples:
  mqttzoo passwd users alice
  mqttzoo passwd users sensor-7 < secret.txt
  mqttzoo passwd users alice --delete
  mqttzoo broker --password-file users
  mqttzoo passwd http-users carol --role operator
  mqttzoo broker --http-port 8080 --http-users http-users`,
    )
    .action(run);
}

async function run(file: string, user: string, flags: Flags): Promise<void> {
  const why = whyNoUserName(user);
  if (why !== undefined) throw new OperatingError("EUSAGE", why);
  const before = isThere(file) ? readText(file) : "";
  const { isUser, role } = readUsers(before, { file, user, flags });
  if (flags.delete === true) {
    if (!isUser) throw new OperatingError("EFILE", `there is no user ${user} in ${file}`);
    return replaceText(file, withUser(before, user, undefined));
  }
  const password = process.stdin.isTTY ? await askTwice(user) : firstLine(await Bun.stdin.text());
  if (password === "") throw new OperatingError("EUSAGE", "an empty password lets everybody in");
  const hash = await (flags.scram === true ? hashForScram(password) : hashPassword(password));
  replaceText(file, withUser(before, user, role === undefined ? hash : `${role}:${hash}`));
}

/**
 * Reads the file as one with roles if it is that, or a role is given: who changes a password keeps his role. Throws
 * `OperatingError` if it is of the other kind, or malformed.
 */
function readUsers(
  text: string,
  { file, user, flags }: { readonly file: string; readonly user: string; readonly flags: Flags },
): { readonly isUser: boolean; readonly role: Role | undefined } {
  const { role, delete: isDeleted = false } = flags;
  const entries = text.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("#"));
  const hasRoles = entries.length > 0 && entries.every((line) => roles.includes(line.split(":")[1] as Role));
  try {
    if (role === undefined && !hasRoles) return { isUser: parsePasswordFile(text).has(user), role };
    const entry = parseRoleFile(text).get(user);
    const kept = role ?? entry?.role;
    if (kept === undefined && !isDeleted)
      throw new OperatingError("EUSAGE", `say what ${user} may: --role ${roles.join(" or ")}`);
    return { isUser: entry !== undefined, role: kept };
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    throw new OperatingError(error.code, `${file}: ${error.message}`);
  }
}

function firstLine(text: string): string {
  return text.split(/\r?\n/, 1)[0]!;
}

async function askTwice(user: string): Promise<string> {
  const [password, again] = await askUnseen([`Password of ${user}: `, "The same again: "]);
  if (password !== again) throw new OperatingError("EUSAGE", "the two were not the same; nothing is changed");
  return password!;
}

/** Reads a line from the terminal for each prompt, without showing it: not even what is typed between two prompts. */
function askUnseen(prompts: readonly string[]): Promise<string[]> {
  const { stdin, stderr } = process;
  const { promise, resolve, reject } = Promise.withResolvers<string[]>();
  const lines: string[] = [];
  let line = "";
  const receive = (bytes: Buffer): void => {
    for (const key of bytes.toString("utf8")) {
      if (key === "\u0003" || key === "\u0004")
        return end(() => reject(new OperatingError("ECANCELED", "nothing is changed")));
      if (key !== "\r" && key !== "\n") {
        line = key === "\u007f" || key === "\b" ? line.slice(0, -1) : line + key;
        continue;
      }
      lines.push(line);
      line = "";
      stderr.write("\n");
      if (lines.length === prompts.length) return end(() => resolve(lines));
      stderr.write(prompts[lines.length]!);
    }
  };
  const end = (then: () => void): void => {
    stdin.off("data", receive);
    stdin.setRawMode(false);
    stdin.pause();
    then();
  };
  stdin.setRawMode(true);
  stdin.resume();
  stdin.on("data", receive);
  stderr.write(prompts[0]!);
  return promise;
}
