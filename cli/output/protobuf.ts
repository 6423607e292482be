/** Protocol Buffers as a format of payloads: JSON for people, by a message of a .proto file. */
import { dirname, join } from "node:path";
import type { Enum, Field, ReflectionObject, Root, Type } from "protobufjs";
import { messageOf, OperatingError } from "../../src/base/errors.ts";
import { isThere, readText } from "../../src/server/operator-files.ts";
import { NotOfFormat, type PayloadCodec } from "./payload-formats.ts";

type Library = typeof import("protobufjs");

/** Files that one imports, at most. */
const filesMax = 1000;
/** Messages within messages, at most. */
const depthMax = 100;

/**
 * Returns the format of a message; undefined as name: the only one of the file. Rejects with `OperatingError` (EUSAGE):
 * the file cannot be read, is none, or has no such message.
 */
export async function protobufCodec(path: string, name: string | undefined): Promise<PayloadCodec> {
  const library = (await import("protobufjs")).default;
  const type = messageType(load(library, path), path, name);
  const json = { longs: String, enums: String, bytes: String, json: true } as const;
  return {
    isJson: true,
    show: (payload) => orNotOfFormat(() => JSON.stringify(type.toObject(type.decode(payload), json))),
    read: (written) =>
      orNotOfFormat(() => {
        const given = asNamed(
          JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(written)),
          type,
          type.name,
          0,
        );
        return type.encode(type.fromObject(given as object)).finish();
      }),
  };
}

function orNotOfFormat<Value>(attempt: () => Value): Value {
  try {
    return attempt();
  } catch (error) {
    if (error instanceof NotOfFormat) throw error;
    throw new NotOfFormat(messageOf(error).split("\n")[0]!.slice(0, 100));
  }
}

/** Reads a file and what it imports. Throws `OperatingError` (EUSAGE). */
function load(library: Library, path: string): Root {
  const root = new library.Root();
  const waiting = [path];
  const seen = new Set(waiting);
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (seen.size > filesMax) throw new OperatingError("EUSAGE", `${path} imports more than ${filesMax} files`);
    let imports: readonly string[];
    try {
      imports = library.parse(readText(file), root).imports ?? [];
    } catch (error) {
      if (error instanceof OperatingError) throw error;
      throw new OperatingError("EUSAGE", `${file} is no .proto file: ${messageOf(error)}`);
    }
    for (const name of imports) {
      const known = library.common.get(name);
      if (known?.nested !== undefined) root.addJSON(known.nested as Parameters<Root["addJSON"]>[0]);
      if (known !== null && known !== undefined) continue;
      // Beside the file that imports it, or beside the first one.
      const found = [dirname(file), dirname(path)].map((folder) => join(folder, name)).find(isThere);
      if (found === undefined) throw new OperatingError("EUSAGE", `${file} imports ${name}, which is not there`);
      if (!seen.has(found)) waiting.push(found);
      seen.add(found);
    }
  }
  try {
    root.resolveAll();
  } catch (error) {
    throw new OperatingError("EUSAGE", `${path}: ${messageOf(error)}`);
  }
  return root;
}

function messageType(root: Root, path: string, name: string | undefined): Type {
  const all = typesIn(root).filter((type) => !type.fullName.startsWith(".google.protobuf."));
  const called = (type: Type): string => type.fullName.slice(1);
  const found =
    name === undefined ? all : all.filter((type) => called(type) === name || called(type).endsWith(`.${name}`));
  const exact = found.find((type) => called(type) === name);
  if (exact !== undefined || found.length === 1) return exact ?? found[0]!;
  const names = all.map(called).join(", ") || "none";
  const why =
    name === undefined
      ? "name the message with --proto-message"
      : found.length === 0
        ? `there is no message ${name} in ${path}`
        : `there are several messages ${name} in ${path}`;
  throw new OperatingError("EUSAGE", `${why}; there are ${names}`);
}

function typesIn(parent: ReflectionObject & { readonly nestedArray?: readonly ReflectionObject[] }): Type[] {
  return (parent.nestedArray ?? []).flatMap((one) => [...("fieldsArray" in one ? [one as Type] : []), ...typesIn(one)]);
}

/**
 * Returns what is written with the names that the library has. Throws `NotOfFormat` for what the message does not have:
 * the library would leave it out, or make a 0 of it.
 */
function asNamed(given: unknown, type: Type, where: string, depth: number): object {
  if (depth > depthMax) throw new NotOfFormat("it is nested too deep");
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw new NotOfFormat(`${where} must be an object`);
  return Object.fromEntries(
    Object.entries(given).flatMap(([key, value]): [string, unknown][] => {
      const name = key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
      const field = [key, name]
        .map((one) => (Object.hasOwn(type.fields, one) ? type.fields[one] : undefined))
        .find(Boolean);
      if (field === undefined)
        throw new NotOfFormat(`${where} has no field ${key}; there are ${Object.keys(type.fields).join(", ")}`);
      if (value === null) return [];
      return [[field.name, fieldValue(value, field, `${where}.${key}`, depth)]];
    }),
  );
}

function fieldValue(value: unknown, field: Field, where: string, depth: number): unknown {
  const one = (item: unknown): unknown => checked(item, field, where, depth);
  if (field.repeated) return Array.isArray(value) ? value.map(one) : wrong(`${where} must be a list`);
  if (!("keyType" in field)) return one(value);
  if (typeof value !== "object" || Array.isArray(value)) return wrong(`${where} must be an object`);
  return Object.fromEntries(Object.entries(value as object).map(([key, item]) => [key, one(item)]));
}

const integers = /^([su]?int|s?fixed)(32|64)$/;

function checked(value: unknown, { type, resolvedType }: Field, where: string, depth: number): unknown {
  if (resolvedType !== null && "fieldsArray" in resolvedType) return asNamed(value, resolvedType, where, depth + 1);
  if (resolvedType !== null) {
    const { values } = resolvedType as Enum;
    if (typeof value === "number" ? Object.values(values).includes(value) : Object.hasOwn(values, String(value)))
      return value;
    return wrong(`${where} must be one of ${Object.keys(values).join(", ")}`);
  }
  if (integers.test(type)) {
    const text = typeof value === "number" || typeof value === "string" ? String(value) : "";
    return /^-?\d+$/.test(text) && isWithin(BigInt(text), type)
      ? value
      : wrong(`${where} must be a whole number (${type})`);
  }
  if (type === "float" || type === "double") {
    const isNumber = typeof value === "number" || /^(-?Infinity|NaN)$/.test(String(value));
    return isNumber ? Number(value) : wrong(`${where} must be a number`);
  }
  if (type === "bool") return typeof value === "boolean" ? value : wrong(`${where} must be true or false`);
  if (typeof value !== "string") return wrong(`${where} must be a text${type === "bytes" ? " in base64" : ""}`);
  if (type === "bytes" && !/^([\w+/-]{4})*([\w+/-]{2}(==)?|[\w+/-]{3}=?)?$/.test(value))
    return wrong(`${where} must be base64`);
  return value;
}

function isWithin(value: bigint, type: string): boolean {
  const [, kind, bits] = integers.exec(type)!;
  const isSigned = kind === "int" || kind === "sint" || kind === "sfixed";
  const span = 2n ** BigInt(bits!);
  return isSigned ? value >= -span / 2n && value < span / 2n : value >= 0n && value < span;
}

function wrong(why: string): never {
  throw new NotOfFormat(why);
}
