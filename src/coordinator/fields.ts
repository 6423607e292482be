/**
 * A record that is JSON, read field by field: strangers may have written it. Fields that nobody asks for may stand
 * there, for a newer version may have put them there. Each method throws `OperatingError` with EFORMAT.
 */
import { decodeUtf8 } from "../base/bytes.ts";
import { badFormat } from "../base/errors.ts";

export class Fields {
  readonly #fields: Readonly<Record<string, unknown>>;

  /** Throws `OperatingError` (EFORMAT) if the bytes are no JSON object. */
  constructor(data: Uint8Array, start = 0, end = data.length) {
    if (start >= end) throw badFormat("is empty");
    let json: unknown;
    try {
      json = JSON.parse(decodeUtf8(data, start, end));
    } catch {
      throw badFormat("is not JSON");
    }
    if (typeof json !== "object" || json === null || Array.isArray(json)) throw badFormat("is not a JSON object");
    this.#fields = json as Record<string, unknown>;
  }

  has(name: string): boolean {
    return this.#fields[name] !== undefined;
  }

  /** A text. Throws EFORMAT. */
  text(name: string): string {
    const value = this.#fields[name];
    if (typeof value !== "string") throw badFormat(`has no text "${name}"`);
    return value;
  }

  /** True or false. Throws EFORMAT. */
  flag(name: string): boolean {
    const value = this.#fields[name];
    if (typeof value !== "boolean") throw badFormat(`has no true or false "${name}"`);
    return value;
  }

  /** A whole number, from `min` to `max`. Throws EFORMAT. */
  whole(name: string, min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER): number {
    const value = this.#fields[name];
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max)
      throw badFormat(`has no whole number "${name}" from ${min} to ${max}`);
    return value as number;
  }

  /** Any number that is not negative. Throws EFORMAT. */
  amount(name: string): number {
    const value = this.#fields[name];
    if (typeof value !== "number" || !Number.isFinite(value) || value < 0) throw badFormat(`has no amount "${name}"`);
    return value;
  }

  /** Null stands there for what never comes. */
  amountOrNull(name: string): number | null {
    return this.#fields[name] === null ? null : this.amount(name);
  }
}
