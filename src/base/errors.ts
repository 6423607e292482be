/**
 * The three kinds of errors: our bug (`assert.ts`, crashes), the peer's fault (`ProtocolError`, closes that
 * connection and nothing else), the world (`OperatingError`, handled where policy lives).
 */

/** The peer broke the protocol. `reason` is the MQTT 5 reason code its connection is closed with. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  readonly reason: number;

  constructor(reason: number, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** The world failed: disk, network, another process. The message says what, where, and what to do. */
export class OperatingError extends Error {
  override readonly name = "OperatingError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
