/**
 * The formats of what brokers write into the store and say to each other, by number. Which records each of them covers
 * stands in `src/FORMATS.md`, under "Versions".
 */

/** The formats that a broker reads, and writes when all others read them. */
export interface FormatRange {
  readonly oldest: number;
  readonly newest: number;
}

/** The formats of this executable. */
export const formats: FormatRange = { oldest: 1, newest: 2 };

/** The formats of brokers that do not say theirs. */
export const formatsBefore: FormatRange = { oldest: 1, newest: 1 };

/** Reads the formats that another broker says it knows; `formatsBefore` where that makes no sense. */
export function readFormats(value: unknown): FormatRange {
  const { oldest, newest } = (value ?? {}) as Partial<Record<keyof FormatRange, unknown>>;
  if (typeof oldest !== "number" || typeof newest !== "number") return formatsBefore;
  return Number.isInteger(oldest) && Number.isInteger(newest) && 1 <= oldest && oldest <= newest
    ? { oldest, newest }
    : formatsBefore;
}
