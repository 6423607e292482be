/** The exchange of MQTT 5's enhanced authentication (4.12), as a connection goes through it. */
import { Buffer } from "node:buffer";
import type { IAuthPacket, Packet } from "mqtt-packet";
import { noBytes } from "../base/bytes.ts";
import { messageOf, ProtocolError } from "../base/errors.ts";
import { Reason } from "../mqtt/reason.ts";
import type { Login } from "./connection-options.ts";

/** Reason code of an AUTH that goes on (2.4). */
const continueAuthentication = 0x18;

/** Answers the broker's AUTH by `send`, or gives up by `fail`. Throws `ProtocolError` if nobody has offered a login. */
export function answerAuth(
  login: Login | undefined,
  { properties }: IAuthPacket,
  { send, fail }: { readonly send: (packet: Packet) => void; readonly fail: (why: string) => void },
): void {
  if (login === undefined) throw new ProtocolError(Reason.protocolError, "the broker asks for what nobody has offered");
  const answer = (authenticationData: Uint8Array): void =>
    send({
      cmd: "auth",
      reasonCode: continueAuthentication,
      properties: { authenticationMethod: login.method, authenticationData: Buffer.from(authenticationData) },
    } as Packet);
  login.answer(properties?.authenticationData ?? noBytes).then(answer, (error) => fail(messageOf(error)));
}
