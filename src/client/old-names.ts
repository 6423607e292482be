/**
 * Options under the names that they had before: seconds, whose unit no name said. They are still taken, and the log is
 * told once of each.
 */

/** Options in seconds, and what they are called now, in milliseconds. */
interface OldNames {
  readonly [old: string]: string;
}

const ofClient: OldNames = {
  sessionExpiry: "sessionExpiryMs",
  keepAlive: "keepAliveMs",
  connectTimeout: "connectTimeoutMs",
};
const ofMessage: OldNames = { expiry: "expiryMs" };
const ofWill: OldNames = { ...ofMessage, delay: "delayMs" };
const lists = { client: ofClient, will: ofWill, message: ofMessage } as const;

/** Told of an old name and the new one. */
export type OnOldName = (old: string, now: string) => void;

/** Returns the options under their names of now. Throws a `TypeError` if one stands there under both. */
export function currentNames<Options extends object>(
  options: Options,
  of: keyof typeof lists,
  onOldName: OnOldName,
): Options {
  const old = Object.keys(lists[of]).filter((name) => (options as Values)[name] !== undefined);
  if (old.length === 0) return options;
  const renamed = { ...options } as Record<string, unknown>;
  for (const name of old) {
    const now = lists[of][name]!;
    if (renamed[now] !== undefined) throw new TypeError(`${name} is the old name of ${now}: give one of them`);
    const value = renamed[name];
    // What is no number is refused under the new name.
    renamed[now] = typeof value === "number" ? value * 1000 : value;
    delete renamed[name];
    onOldName(name, now);
  }
  return renamed as Options;
}

type Values = Readonly<Record<string, unknown>>;
