/**
 * Sessions belong to users: to the one who has made it. Nobody else resumes, ends or empties it by its client id. A
 * session that was made without a user name is nobody's: any client may take it.
 */
import type { Login } from "./admission.ts";

/** The words with which a client is refused whose client id stands for another user's session. */
export const anothersWords = "the client id stands for another user's session";

/** Returns the user of a login; "": it has given no name that was checked. */
export function userOf({ identity }: Login): string {
  return identity.username ?? "";
}

/** Returns true if a user may take a session. */
export function mayTake(user: string, session: { readonly user: string }): boolean {
  return session.user === "" || session.user === user;
}

/**
 * Says why a client id does not begin as a user's must, by a pattern in which `%u` stands for the user's name;
 * undefined: it does.
 */
export function whyNoClientId(clientId: string, user: string, pattern: string): string | undefined {
  if (pattern === "") return undefined;
  if (pattern.includes("%u") && user === "")
    return `the client id must begin with ${pattern}, and there is no user name`;
  const prefix = pattern.replaceAll("%u", () => user);
  // An id that is the prefix alone would be the same for all of the user's clients.
  return clientId.startsWith(prefix) && clientId.length > prefix.length
    ? undefined
    : `the client id must begin with ${pattern}, that is ${prefix}`;
}
