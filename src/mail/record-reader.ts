/** The port through which records are read from the store: strangers may have written there. */
import { isBadFormat } from "../base/errors.ts";

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
