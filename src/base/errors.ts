/**
 * The three kinds of errors: our bug (`assert.ts`, crashes), the peer's fault (`ProtocolError`, closes that
 * connection and nothing else), the world (`OperatingError`, handled where policy lives).
 */
import { crash } from "./assert.ts";

/** The peer broke the protocol. `reason` is the MQTT 5 reason code its connection is closed with. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  readonly reason: number;

  constructor(reason: number, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** The codes of `OperatingError`. `src/README.md`, "Errors", says what each means, and what a caller does about it. */
export type OperatingErrorCode = (typeof operatingErrorCodes)[number];
export const operatingErrorCodes = [
  "EUSAGE",
  "EFILE",
  "EOUTPUT",
  "ELISTEN",
  "ECONNECT",
  "EREFUSED",
  "EVERSION",
  "ECLOSED",
  "ETIMEOUT",
  "ENOBODY",
  "EZOOKEEPER",
  "ENOAUTH",
  "ESTORE",
  "EBUSY",
  "EFULL",
  "EDAMAGED",
  "EFORMAT",
  "EFENCED",
  "EBANK",
  "EFAILED",
  "ECANCELED",
] as const;

/** The world failed: disk, network, another process. The message says what, where, and what to do. */
export class OperatingError extends Error {
  override readonly name = "OperatingError";
  readonly code: OperatingErrorCode;

  constructor(code: OperatingErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Makes the error for bytes in the store, or in a file, that are not what we write there. `why` completes "it ...". */
export function badFormat(why: string): OperatingError {
  return new OperatingError("EFORMAT", why);
}

export function isBadFormat(error: unknown): error is OperatingError {
  return error instanceof OperatingError && error.code === "EFORMAT";
}

/**
 * Handles a promise's failure that is of no interest as long as it is the world's: an error of our own ends the
 * process.
 */
export function ignoreTheWorld(error: unknown): void {
  if (!(error instanceof OperatingError)) crash(error);
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
