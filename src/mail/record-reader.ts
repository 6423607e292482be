/** The port through which records are read from the store: strangers may have written there. */
import { isBadFormat } from "../base/errors.ts";
import { strangersShownMax } from "../base/limits.ts";

export interface RecordReader {
  /**
   * Returns what `decode` does; undefined if it throws EFORMAT: then no broker has written that. Other errors are
   * thrown on.
   */
  read<Record>(path: string, decode: () => Record): Record | undefined;
}

/** Leaves out what is not ours, and tells nobody. */
export const quietReader: RecordReader = {
  read(_, decode) {
    try {
      return decode();
    } catch (error) {
      if (!isBadFormat(error)) throw error;
      return undefined;
    }
  },
};

/** Leaves out what is not ours, and remembers what is wrong with it, by its path. */
export function notingReader(strangers: Map<string, string>): RecordReader {
  return {
    read(path, decode) {
      try {
        return decode();
      } catch (error) {
        if (!isBadFormat(error)) throw error;
        strangers.set(path, error.message);
        return undefined;
      }
    },
  };
}

/** Says in one line how many znodes are not ours, and names the first of them; undefined: there are none. */
export function describeStrangers(strangers: ReadonlyMap<string, string>): string | undefined {
  if (strangers.size === 0) return undefined;
  const named = [...strangers].slice(0, strangersShownMax).map(([path, why]) => `${JSON.stringify(path)} ${why}`);
  const rest = strangers.size > named.length ? `; and ${strangers.size - named.length} more` : "";
  const are = strangers.size === 1 ? "1 znode is" : `${strangers.size} znodes are`;
  return `${are} not the broker's, and left out: ${named.join("; ")}${rest}`;
}
