/** Checks of what a stored message holds: others may have written to the store. */
import { badFormat, ProtocolError } from "../base/errors.ts";
import { PacketType } from "../mqtt/constants.ts";
import { walkProperties } from "../mqtt/properties.ts";

/**
 * Throws `OperatingError` (EFORMAT) for an id that is none: it is part of a path, below which all is removed with the
 * message.
 */
export function checkPartsId(id: string): string {
  if (!/^[\w~-]+$/.test(id)) throw badFormat("names parts that are none");
  return id;
}

/** Throws `OperatingError` (EFORMAT) for properties that no PUBLISH may have. */
export function checkProperties(bytes: Uint8Array, start: number, end: number): void {
  if (start === end) return;
  try {
    walkProperties(bytes, start, end, { packetType: PacketType.publish });
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw badFormat(`is a message whose properties are wrong: ${error.message}`);
  }
}
