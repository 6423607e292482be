/** The messages that `pub` publishes: of the command line, a file or standard input; filled and made as flags say. */
import { systemClock } from "../../src/base/clock.ts";
import { systemRandom } from "../../src/base/random.ts";
import { readBytes } from "../../src/server/operator-files.ts";
import { usage } from "../flags/parsers.ts";
import { chosenFormat, type ProtoFlags } from "../flags/payload-flags.ts";
import { bytesOf } from "../flags/raw-words.ts";
import { NotOfFormat, type PayloadCodec, type PayloadFormat } from "../output/payload-formats.ts";
import { parseTemplate, type Template, TemplateError } from "./template.ts";

export interface SourceFlags extends ProtoFlags {
  readonly file?: string;
  readonly stdinLine?: boolean;
  readonly message?: string;
  readonly nullMessage?: boolean;
  readonly stdinFile?: boolean;
  readonly repeat: number;
  readonly repeatDelay: number;
  readonly format?: PayloadFormat;
  readonly template?: boolean;
}

export class MessageSource {
  /** Undefined: payloads are published as they are given. */
  readonly codec: PayloadCodec | undefined;
  readonly messages: AsyncIterable<Uint8Array | string>;
  readonly #topic: Template | undefined;
  readonly #givenTopic: string;
  readonly #flags: SourceFlags;
  #count = 0;
  #wrong: string | undefined;

  private constructor(topic: string, flags: SourceFlags, codec: PayloadCodec | undefined) {
    this.codec = codec;
    this.#flags = flags;
    this.#givenTopic = topic;
    const written = writtenOf(flags);
    const isChanged = codec !== undefined || flags.template === true;
    this.messages = isChanged ? this.#made(written) : written;
    this.#topic = flags.template === true ? templateOf("the topic", topic) : undefined;
    // What can be looked at now is not found wrong only when there is a connection.
    if (flags.message === undefined) return;
    if (flags.template === true) templateOf("the message", flags.message);
    else this.#tryToMake(Buffer.from(bytesOf(flags.message)));
  }

  /** Rejects with `OperatingError` (EUSAGE) unless there is exactly one source. */
  static async open(topic: string, flags: SourceFlags): Promise<MessageSource> {
    return new MessageSource(topic, flags, (await chosenFormat(flags.format, flags))?.codec);
  }

  /** The topic of the message that was handed out last; before the first, one that is like it. */
  get topic(): string {
    return this.#topic?.(this.#filling) ?? this.#givenTopic;
  }

  /** To be called at the end. Throws `OperatingError` (EUSAGE) if that was before a message that could not be made. */
  check(): void {
    if (this.#wrong !== undefined) usage(this.#wrong);
  }

  get #filling() {
    return { count: Math.max(1, this.#count), clock: systemClock, random: systemRandom };
  }

  async *#made(written: AsyncIterable<Uint8Array | string>): AsyncGenerator<Uint8Array> {
    for await (const message of written) {
      this.#count++;
      let payload: Uint8Array;
      try {
        payload = this.#make(Buffer.from(message as string));
      } catch (error) {
        if (!(error instanceof NotOfFormat) && !(error instanceof TemplateError)) throw error;
        this.#wrong = this.#wordsOf(error);
        return;
      }
      yield payload;
    }
  }

  /** Throws `OperatingError` (EUSAGE) if no payload can be made of a message. */
  #tryToMake(given: Uint8Array): void {
    try {
      this.codec?.read(given);
    } catch (error) {
      if (!(error instanceof NotOfFormat)) throw error;
      usage(this.#wordsOf(error));
    }
  }

  #make(given: Uint8Array): Uint8Array {
    const filled = this.#flags.template === true ? this.#fill(given) : given;
    return this.codec?.read(filled) ?? filled;
  }

  /** Bytes that belong to no place stay as they are. */
  #fill(given: Uint8Array): Uint8Array {
    return Buffer.from(parseTemplate(Buffer.from(given).toString("latin1"))(this.#filling), "latin1");
  }

  #wordsOf(error: NotOfFormat | TemplateError): string {
    const { stdinLine, proto, format = proto && "protobuf" } = this.#flags;
    const [what, then] = stdinLine ? [`line ${this.#count}`, "; what follows is not published"] : ["the message", ""];
    if (error instanceof TemplateError) return `${what}: ${error.message}${then}`;
    const needed = /^(cbor|msgpack|protobuf)$/.test(format!) ? `JSON to make ${format} of` : format;
    return `${what} is not ${needed} (${error.message})${then}`;
  }
}

/** Throws `OperatingError` (EUSAGE). */
function templateOf(what: string, text: string): Template {
  try {
    return parseTemplate(text);
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return usage(`${what}: ${error.message}`);
  }
}

/** Throws `OperatingError` unless there is exactly one source. */
function writtenOf(flags: SourceFlags): AsyncIterable<Uint8Array | string> {
  const { message, file, stdinLine, stdinFile, nullMessage } = flags;
  const sources = [message, file, stdinLine, stdinFile, nullMessage].filter((source) => source !== undefined);
  if (sources.length === 0) usage("nothing to publish: give the message with -m, -f, -s or -l, or -n for an empty one");
  if (sources.length > 1) usage("-m, -f, -s, -l and -n do not go together");
  if (stdinLine === true) return linesOf(process.stdin);
  const payload = file === undefined ? bytesOf(message ?? "") : readBytes(file);
  return repeated(stdinFile === true ? () => Bun.stdin.bytes() : () => Promise.resolve(payload), flags);
}

async function* repeated(
  read: () => Promise<Uint8Array | string>,
  { repeat, repeatDelay }: SourceFlags,
): AsyncGenerator<Uint8Array | string> {
  const payload = await read();
  for (let left = repeat; left > 0; left--) {
    yield payload;
    if (left > 1 && repeatDelay > 0) await Bun.sleep(repeatDelay * 1000);
  }
}

/** Lines as bytes, without what ends them; what follows the last end counts if it is not empty. */
async function* linesOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest = Buffer.alloc(0);
  for await (const chunk of input) {
    rest = Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
      yield rest.subarray(0, rest[end - 1] === 13 ? end - 1 : end);
      rest = rest.subarray(end + 1);
    }
  }
  if (rest.length > 0) yield rest;
}
