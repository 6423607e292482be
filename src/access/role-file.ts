/** The file of those who may use the HTTP API, a line each: `NAME:ROLE:HASH`. */
import { OperatingError } from "../base/errors.ts";
import { isHash } from "./hashes.ts";

/** The rights of a user: to look, or to change things as well. */
export const roles = ["viewer", "operator"] as const;
export type Role = (typeof roles)[number];

export interface RoleEntry {
  readonly role: Role;
  readonly hash: string;
}

/** Reads the file. Throws `OperatingError` that names the line, without its content: nobody is let in by mistake. */
export function parseRoleFile(text: string): ReadonlyMap<string, RoleEntry> {
  const users = new Map<string, RoleEntry>();
  text.split("\n").forEach((line, index) => {
    const words = line.trimEnd();
    if (words === "" || words.startsWith("#")) return;
    const [, name = "", word = "", hash = ""] = /^([^:]*):([^:]*):(.*)$/.exec(words) ?? [];
    const role = roles.find((one) => one === word);
    const why =
      name === "" || role === undefined
        ? `not NAME:ROLE:HASH, where a role is ${roles.join(" or ")}; make it with mqttzoo passwd --role`
        : users.has(name)
          ? `a second entry for ${JSON.stringify(name)}`
          : isHash(hash)
            ? undefined
            : "the password is not hashed in a way that is known; make the entry with mqttzoo passwd --role";
    if (why !== undefined) throw new OperatingError("EFILE", `line ${index + 1}: ${why}`);
    users.set(name, { role: role!, hash });
  });
  return users;
}
