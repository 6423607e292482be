/** Payloads in the formats in which devices send them: as people and programs read them, and back. */
import { messageOf } from "../../src/base/errors.ts";
import { jsonOf } from "./json-text.ts";

export const payloadFormats = ["text", "hex", "base64", "json", "cbor", "msgpack"] as const;
export type PayloadFormat = (typeof payloadFormats)[number];

/** A format as it is named for people; protobuf needs a file, see `protobuf.ts`. */
export type FormatName = PayloadFormat | "protobuf";

/** Thrown for what is not of a format; the message says why. */
export class NotOfFormat extends Error {}

/** One format. What it throws is `NotOfFormat`. */
export interface PayloadCodec {
  /** True if `show` gives JSON. */
  readonly isJson: boolean;
  show(payload: Uint8Array): string;
  /** Makes a payload of what somebody has written. */
  read(written: Uint8Array): Uint8Array;
}

/** Returns a format; the libraries for some are loaded only then. */
export async function codecOf(format: PayloadFormat): Promise<PayloadCodec> {
  const codec = await loaders[format]();
  return {
    isJson: codec.isJson,
    show: (payload) => orNotOfFormat(() => codec.show(payload)),
    read: (written) => orNotOfFormat(() => codec.read(written)),
  };
}

/** Makes one kind of all errors: the libraries throw many, and the engine one for what is nested too deep. */
function orNotOfFormat<Value>(attempt: () => Value): Value {
  try {
    return attempt();
  } catch (error) {
    if (error instanceof NotOfFormat) throw error;
    const words = messageOf(error).split("\n")[0]!.slice(0, 100);
    throw new NotOfFormat(/call stack/i.test(words) ? "it is nested too deep" : words);
  }
}

const loaders: Readonly<Record<PayloadFormat, () => Promise<PayloadCodec> | PayloadCodec>> = {
  text: () => ({ isJson: false, show: strictText, read: (written) => Buffer.from(strictText(written)) }),
  hex: () => ({
    isJson: false,
    show: (payload) => Buffer.from(payload).toString("hex"),
    read: (written) =>
      readDigits(written, { digits: /^([0-9a-f]{2})*$/i, encoding: "hex", what: "pairs of hex digits" }),
  }),
  base64: () => ({
    isJson: false,
    show: (payload) => Buffer.from(payload).toString("base64"),
    read: (written) =>
      readDigits(written, {
        digits: /^([\w+/-]{4})*([\w+/-]{2}(==)?|[\w+/-]{3}=?)?$/,
        encoding: "base64",
        what: "base64",
      }),
  }),
  json: () => ({ isJson: true, show: checkedJson, read: (written) => Buffer.from(checkedJson(written)) }),
  cbor,
  msgpack: messagePack,
};

/** The bytes must be UTF-8. */
function strictText(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}

function readDigits(
  written: Uint8Array,
  { digits, encoding, what }: { readonly digits: RegExp; readonly encoding: "hex" | "base64"; readonly what: string },
): Uint8Array {
  const text = Buffer.from(written).toString("latin1").replaceAll(/\s/g, "");
  if (!digits.test(text)) throw new NotOfFormat(`there must be ${what}`);
  return Buffer.from(text, encoding);
}

function checkedJson(bytes: Uint8Array): string {
  const text = strictText(bytes);
  JSON.parse(text);
  return text;
}

async function cbor(): Promise<PayloadCodec> {
  const { decode, encode, Tag } = await import("cbor2");
  const tags = { positive: 2, negative: 3 } as const;
  const translate = (value: unknown): unknown => {
    if (!(value instanceof Tag)) return undefined;
    const { tag, contents } = value;
    if (!(contents instanceof Uint8Array) || (tag !== tags.positive && tag !== tags.negative)) return contents ?? null;
    const digits = BigInt(`0x0${Buffer.from(contents).toString("hex")}`);
    return tag === tags.positive ? digits : -1n - digits;
  };
  // Tags are translated here: the library would make objects of JavaScript of many.
  const options = { preferMap: true, tags: new Map(), ignoreGlobalTags: true };
  return {
    isJson: true,
    show: (payload) => jsonOf(decode(payload, options), translate),
    read: (written) => encode(writtenJson(written)),
  };
}

/** MessagePack has integers from -2^63 up to this one, exclusively. */
const uint64End = 2n ** 64n;
const int64Min = -(2n ** 63n);

async function messagePack(): Promise<PayloadCodec> {
  const { decode, encode, ExtData } = await import("@msgpack/msgpack");
  const translate = (value: unknown): unknown => {
    if (value instanceof ExtData)
      return new Map<string, unknown>([
        ["type", value.type],
        ["data", value.data as Uint8Array],
      ]);
    if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype)
      return undefined;
    return new Map(Object.entries(value).map(([key, inner]) => [key.slice(1), inner]));
  };
  // With a letter before it no key is taken for an index, which would come first, nor for a prototype.
  const mapKeyConverter = (key: unknown): string => `k${typeof key === "string" ? key : jsonOf(key, translate)}`;
  return {
    isJson: true,
    show: (payload) => {
      const max = payload.length;
      const limits = {
        maxStrLength: max,
        maxBinLength: max,
        maxArrayLength: max,
        maxMapLength: max,
        maxExtLength: max,
      };
      return jsonOf(decode(payload, { ...limits, useBigInt64: true, mapKeyConverter }), translate);
    },
    read: (written) =>
      encode(
        writtenJson(written, (integer) => {
          if (integer < int64Min || integer >= uint64End) throw new NotOfFormat(`${integer} needs more than 64 bits`);
        }),
        { useBigInt64: true },
      ),
  };
}

/** As ECMAScript has it; the compiler's library does not know it yet. */
interface RevivingJson {
  parse(text: string, revive: (key: string, value: unknown, context: { source?: string }) => unknown): unknown;
}

/** Returns what a JSON text says; integers that a double does not hold are `bigint`, and `check` is shown each. */
function writtenJson(written: Uint8Array, check: (integer: bigint) => void = () => {}): unknown {
  return (JSON as RevivingJson).parse(strictText(written), (_, value, { source = "" }) => {
    if (typeof value !== "number") return value;
    if (!Number.isFinite(value)) throw new NotOfFormat(`${source.slice(0, 30)} is more than a number of 64 bits holds`);
    if (Number.isSafeInteger(value) || !/^-?\d+$/.test(source)) return value;
    check(BigInt(source));
    return BigInt(source);
  });
}
