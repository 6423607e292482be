/** How brokers say no: in CONNACK and DISCONNECT, in words of MQTT 5 and of before. */
import type { IConnackPacket } from "mqtt-packet";
import { OperatingError } from "../base/errors.ts";
import type { ProtocolVersion } from "../mqtt/constants.ts";
import { describeReason, Reason } from "../mqtt/reason.ts";

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
const refusals: Record<number, { readonly words: string; readonly reason: number }> = {
  1: { words: "unacceptable protocol version", reason: Reason.unsupportedProtocolVersion },
  2: { words: "client identifier rejected", reason: Reason.clientIdentifierNotValid },
  3: { words: "server unavailable", reason: Reason.serverUnavailable },
  4: { words: "bad user name or password", reason: Reason.badUserNameOrPassword },
  5: { words: "not authorised", reason: Reason.notAuthorized },
};

/** Returns the broker's last words, of the properties that they came with. */
export function saidBy(
  reason: number,
  said: { readonly reasonString?: string; readonly serverReference?: string } | undefined,
): ClosingReason {
  return { reason, text: said?.reasonString, serverReference: said?.serverReference };
}

/** A reason code and what was said besides, for people. */
export function inWords({ reason, text }: ClosingReason): string {
  return `${describeReason(reason)}${text === undefined ? "" : `: ${text}`}`;
}

/** Returns why a CONNACK does not let us in; undefined: it does. */
export function refusalOf(
  packet: IConnackPacket,
  version: ProtocolVersion,
): { readonly said: ClosingReason; readonly error: ConnectionRefused } | undefined {
  const code = version === 5 ? (packet.reasonCode ?? 0) : (packet.returnCode ?? 0);
  if (code === 0) return undefined;
  // Brokers that do not know MQTT 5 say so in words of before.
  const refusal = code < Reason.unspecifiedError ? refusals[code] : undefined;
  const said = saidBy(refusal?.reason ?? Math.max(code, Reason.unspecifiedError), packet.properties);
  const words = refusal?.words ?? (version === 5 ? describeReason(code) : `return code ${code}`);
  const kind = said.reason === Reason.unsupportedProtocolVersion ? "EVERSION" : "EREFUSED";
  return { said, error: new ConnectionRefused(kind, words, code) };
}
