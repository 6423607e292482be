/** The flags that say what payloads are: a format by its name, or a message of a .proto file. */
import type { Command } from "commander";
import { codecOf, type FormatName, type PayloadCodec, type PayloadFormat } from "../output/payload-formats.ts";
import { usage } from "./parsers.ts";

export interface ProtoFlags {
  readonly proto?: string;
  readonly protoMessage?: string;
}

export function addProtoOptions(command: Command): Command {
  return command
    .option("--proto <FILE>", "payloads are Protocol Buffers of a message in this .proto file, printed as JSON")
    .option("--proto-message <NAME>", "... which message, also as --message; -m is the text then");
}

/** Returns the format that flags name; undefined: none. Rejects with `OperatingError` (EUSAGE). */
export async function chosenFormat(
  format: PayloadFormat | undefined,
  { proto, protoMessage }: ProtoFlags,
): Promise<{ readonly name: FormatName; readonly codec: PayloadCodec } | undefined> {
  if (proto === undefined) {
    if (protoMessage !== undefined) usage("--proto-message belongs to --proto");
    return format && { name: format, codec: await codecOf(format) };
  }
  if (format !== undefined) usage("--proto does not go with --format");
  const { protobufCodec } = await import("../output/protobuf.ts");
  return { name: "protobuf", codec: await protobufCodec(proto, protoMessage) };
}

/** Reads --message as --proto-message where there is --proto: -m is what a message's text is given with. */
export function asProtoFlags(words: readonly string[]): string[] {
  if (!words.some((word) => /^--proto(=|$)/.test(word))) return [...words];
  return words.map((word) => word.replace(/^--message(?==|$)/, "--proto-message"));
}
