/** The ways in which `sub` prints messages: as they are, by `-F`, in a format, as JSON, or by the files they are in. */
import { isatty } from "node:tty";
import { printableJson } from "../../src/base/printable.ts";
import type { Message } from "../../src/client/connection-options.ts";
import { isColoured, painted } from "./colours.ts";
import { describeMessage, formatMessage, hasEscapes, NoJson, type parseFormat } from "./format.ts";
import { layOut } from "./json-text.ts";
import type { MessageFolder } from "./message-folder.ts";
import { type FormatName, NotOfFormat, type PayloadCodec } from "./payload-formats.ts";
import { shown } from "./print.ts";

export interface PrinterOptions {
  /** The format of `-F`. */
  readonly print: ReturnType<typeof parseFormat> | undefined;
  /** The format of payloads; undefined: nobody has said it, and they are printed as they are. */
  readonly payloads: { readonly name: FormatName; readonly codec: PayloadCodec } | undefined;
  /** True: a line of JSON for each message. */
  readonly isJson: boolean;
  readonly isPretty: boolean;
  readonly verbose: boolean;
  /** True: each ends with its line. */
  readonly eol: boolean;
  readonly folder: MessageFolder | undefined;
  /** Told for people what went wrong. */
  readonly report: (what: string) => void;
}

/** A payload as it is printed. */
interface ShownPayload {
  readonly bytes: Uint8Array;
  /** JSON that says the same. */
  readonly json: string;
  /** The format in which it is shown, which need not be the one that was asked for. */
  readonly format: FormatName;
}

export class MessagePrinter {
  readonly #options: PrinterOptions;
  /** One has been seen that was not of its format. */
  #isTold = false;

  constructor(options: PrinterOptions) {
    this.#options = options;
  }

  /** Saves a message where that is asked for, and returns what is to be printed. Throws `OperatingError` (EOUTPUT). */
  bytesOf(message: Message, now: Date): Uint8Array | undefined {
    const { print, payloads, isJson, isPretty, verbose, eol, folder, report } = this.#options;
    const file = folder?.save(message.topic, message.payload, now);
    const end = Buffer.from(eol ? "\n" : "");
    if (isJson) return Buffer.concat([Buffer.from(this.#jsonOf(message, now, file)), end]);
    if (print !== undefined) {
      const payload = payloads === undefined ? message.payload : this.#show(message).bytes;
      try {
        const how = { isPretty, now, show: shown, payload, ...(hasEscapes(print) ? {} : { paintTopic }) };
        return Buffer.concat([formatMessage(print, message, how), end]);
      } catch (error) {
        if (!(error instanceof NoJson)) throw error;
        report(error.message);
        return end;
      }
    }
    if (file !== undefined && payloads === undefined && !verbose) return Buffer.concat([Buffer.from(file), end]);
    // As mosquitto_sub has it: an empty message is nothing to print, unless its topic is.
    const isEmpty = message.payload.length === 0;
    if (isEmpty && !verbose) return undefined;
    const payload = isEmpty ? Buffer.from("(null)") : shown(this.#show(message).bytes);
    return Buffer.concat([verbose ? topicBefore(message) : Buffer.of(), payload, end]);
  }

  #jsonOf(message: Message, now: Date, file: string | undefined): string {
    const { format, json } = this.#show(message);
    const said = JSON.stringify({ ...describeMessage(message, now), format, ...(file === undefined ? {} : { file }) });
    return layOut(printableJson(`${said.slice(0, -1)},"payload":${json}}`), { isPretty: this.#options.isPretty });
  }

  #show(message: Message): ShownPayload {
    const { payloads, isPretty, isJson } = this.#options;
    const { payload } = message;
    // Whoever asks for no format has the bytes as they are; but JSON holds texts alone.
    if (payloads === undefined && !isJson) return { bytes: payload, json: "", format: "text" };
    if (payload.length === 0) return { bytes: payload, json: "null", format: payloads?.name ?? "text" };
    if (payloads === undefined) return ofText(payload);
    const { name: format, codec } = payloads;
    try {
      const text = codec.show(payload);
      if (!codec.isJson) return { bytes: Buffer.from(text), json: JSON.stringify(text), format };
      // Line breaks between values are no characters of theirs; those within are escaped in JSON.
      const json = printableJson(layOut(text, { isPretty: false }));
      return { bytes: Buffer.from(layOut(json, { isPretty: isPretty || isatty(1) })), json, format };
    } catch (error) {
      if (!(error instanceof NotOfFormat)) throw error;
      this.#tellOnce(message.topic, format, error);
      return inHex(payload);
    }
  }

  #tellOnce(topic: string, format: FormatName, { message: why }: NotOfFormat): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#options.report(`a message of ${topic} is not ${format} (${why}): it is printed in hex, as all that are not`);
  }
}

/** Returns what stands before the payload with `-v`. */
function topicBefore({ topic }: Message): Uint8Array {
  return Buffer.concat([paintTopic(shown(Buffer.from(topic))), Buffer.from(" ")]);
}

function paintTopic(topic: Uint8Array): Uint8Array {
  return isColoured(1) ? Buffer.from(painted(Buffer.from(topic).toString(), "cyan")) : topic;
}

function ofText(payload: Uint8Array): ShownPayload {
  const text = Buffer.from(payload).toString("utf8");
  const isText = Buffer.from(text).equals(payload);
  return isText ? { bytes: payload, json: JSON.stringify(text), format: "text" } : inHex(payload);
}

function inHex(payload: Uint8Array): ShownPayload {
  const hex = Buffer.from(payload).toString("hex");
  return { bytes: Buffer.from(hex), json: JSON.stringify(hex), format: "hex" };
}
