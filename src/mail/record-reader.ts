/** Who takes what stands in the store for a record: strangers may have written it. */
import { isBadFormat } from "../base/errors.ts";

export interface RecordReader {
  /** What `decode` returns; undefined if it throws EFORMAT: then nobody of ours has written that. Everything else it throws is thrown. */
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
