/** How brokers say no: in CONNACK and DISCONNECT, in words of MQTT 5 and of before. */
import { OperatingError } from "../base/errors.ts";
import { Reason } from "../mqtt/reason.ts";

/** The broker's last words when it would not go on: in CONNACK or DISCONNECT. */
export interface ClosingReason {
  /** Reason code of MQTT 5; of older CONNACKs, what comes nearest. */
  readonly reason: number;
  readonly text: string | undefined;
  /** Where to go instead. */
  readonly serverReference: string | undefined;
}

/** The broker has not let us in (EREFUSED), or does not speak this version (EVERSION). */
export class ConnectionRefused extends OperatingError {
  /** CONNACK's: a reason code of MQTT 5, or a return code of before. */
  readonly returnCode: number;

  constructor(code: "EREFUSED" | "EVERSION", words: string, returnCode: number) {
    super(code, `the broker refused the connection: ${words}`);
    this.returnCode = returnCode;
  }
}

/** CONNACK's return codes before MQTT 5 (3.2.2.3), and the reason codes that say the same. */
export const refusals: Record<number, { readonly words: string; readonly reason: number }> = {
  1: { words: "unacceptable protocol version", reason: Reason.unsupportedProtocolVersion },
  2: { words: "client identifier rejected", reason: Reason.clientIdentifierNotValid },
  3: { words: "server unavailable", reason: Reason.serverUnavailable },
  4: { words: "bad user name or password", reason: Reason.badUserNameOrPassword },
  5: { words: "not authorised", reason: Reason.notAuthorized },
};
