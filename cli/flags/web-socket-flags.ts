/** The flags of MQTT over WebSocket, for all tools that connect. */
import { type Command, InvalidArgumentError } from "commander";
import type { Place } from "../../src/client/dial.ts";
import type { BrokerUrl } from "./broker-url.ts";
import { usage } from "./parsers.ts";

export interface WebSocketFlags {
  readonly ws?: boolean;
  readonly wsPath?: string;
  readonly wsHeader?: readonly Header[];
}

type Header = readonly [name: string, value: string];

/** The path at which brokers speak MQTT, by custom. */
const pathDefault = "/mqtt";
/** Headers that the upgrade itself has to say. */
const own = /^(upgrade|connection|content-length|transfer-encoding|sec-websocket-.*)$/i;
const headersMax = 100;

export function addWebSocketOptions(command: Command): Command {
  return command
    .option("--ws", "speak MQTT over WebSocket; with TLS over it on port 443, or where anything is said of TLS")
    .option("--ws-path <URL-PATH>", `... path that the broker serves (default: ${pathDefault})`, path)
    .option("--ws-header <'NAME: VALUE'>", "... header of the request; may be given several times", header);
}

/** Returns the request with which a WebSocket begins; undefined: none is asked for. Throws `OperatingError`. */
export function webSocketOf({ ws, wsPath, wsHeader = [] }: WebSocketFlags, url: BrokerUrl): Place["webSocket"] {
  if (ws !== true && url.webSocketPath === undefined) {
    if (wsPath !== undefined || wsHeader.length > 0) usage("--ws-path and --ws-header need --ws, or a ws:// URL");
    return undefined;
  }
  const said = url.webSocketPath === undefined ? "" : checkedPath(url.webSocketPath);
  return { path: wsPath ?? (said === "" ? pathDefault : said), headers: wsHeader };
}

function checkedPath(text: string): string {
  const whole = text.startsWith("?") ? `/${text}` : text;
  return /^[\x21-\x22\x24-\x7e]*$/.test(whole) ? whole : usage(`${JSON.stringify(text)} is no path of a URL`);
}

function path(text: string): string {
  if (!/^\/[\x21-\x22\x24-\x7e]*$/.test(text))
    throw new InvalidArgumentError("It must begin with / and be printable ASCII without blanks, such as /mqtt.");
  return text;
}

function header(text: string, before: readonly Header[] = []): Header[] {
  const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*([\t\x20-\x7e]*)$/.exec(text) ?? [];
  if (name === undefined) throw new InvalidArgumentError("It must be 'Name: value', in printable ASCII.");
  if (own.test(name)) throw new InvalidArgumentError("It is said by the upgrade itself.");
  if (before.length === headersMax) throw new InvalidArgumentError(`${headersMax} headers are the most.`);
  return [...before, [name, value!.trim()]];
}
