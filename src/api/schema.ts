/**
 * Schemas: what a row or a body consists of, said once. The compiler takes the row's type from it, the OpenAPI document
 * its description, and requests are checked by it. They are JSON Schema, of the dialect of OpenAPI 3.1.
 */

/** A JSON Schema. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** A schema of values of a type. */
export interface Schema<Value> {
  readonly json: JsonSchema;
  /** Schemas with names, to which `json` refers. */
  readonly parts: Readonly<Record<string, JsonSchema>>;
  /** Never there: it carries the type. */
  readonly of?: Value;
}

/** The type of a schema's values. */
export type Of<S> = S extends Schema<infer Value> ? Value : never;

function make<Value>(json: JsonSchema, parts: Schema<Value>["parts"] = {}): Schema<Value> {
  return { json, parts };
}

/** A schema as it stands. */
export function raw<Value>(json: JsonSchema): Schema<Value> {
  return make(json);
}

/** Texts. */
export function text(description: string, more: JsonSchema = {}): Schema<string> {
  return make({ type: "string", description, ...more });
}

/** Points in time, as in RFC 3339. */
export function time(description: string): Schema<string> {
  return text(description, { format: "date-time" });
}

/** One of a few words. */
export function word<const Words extends readonly string[]>(words: Words, description: string): Schema<Words[number]> {
  return make({ type: "string", enum: words, description });
}

/** Integers. Without a format, clients that are generated in other languages would count to 2^31. */
export function integer(description: string, more: JsonSchema = { minimum: 0 }): Schema<number> {
  const isSmall = typeof more.maximum === "number" && more.maximum < 2 ** 31;
  return make({ type: "integer", format: isSmall ? "int32" : "int64", description, ...more });
}

export function number(description: string): Schema<number> {
  return make({ type: "number", description });
}

export function flag(description: string): Schema<boolean> {
  return make({ type: "boolean", description });
}

export function nullable<Value>({ json, parts }: Schema<Value>): Schema<Value | null> {
  if (json.type === undefined) return make({ anyOf: [json, { type: "null" }] }, parts);
  const words = json.enum === undefined ? {} : { enum: [...(json.enum as unknown[]), null] };
  return make({ ...json, ...words, type: [json.type, "null"] }, parts);
}

export function list<Value>(item: Schema<Value>, description: string): Schema<readonly Value[]> {
  return make({ type: "array", items: item.json, description }, item.parts);
}

/** Values of one kind, by names that are not known before. */
export function table<Value>(value: Schema<Value>, description: string): Schema<Readonly<Record<string, Value>>> {
  return make({ type: "object", additionalProperties: value.json, description }, value.parts);
}

type Fields = Readonly<Record<string, Schema<unknown>>>;
type ObjectOf<F extends Fields> = { readonly [Name in keyof F]: Of<F[Name]> };

/** Objects that have all of these fields, and no others. */
export function object<const F extends Fields>(fields: F, description = ""): Schema<ObjectOf<F>> {
  return make(shapeOf(fields, Object.keys(fields), description), partsOf(fields));
}

/** Objects that have some of these fields: those of `required`, and no others than these. */
export function partial<const F extends Fields, const Name extends keyof F & string>(
  fields: F,
  required: readonly Name[],
): Schema<Partial<ObjectOf<F>> & Pick<ObjectOf<F>, Name>> {
  return make(shapeOf(fields, required, ""), partsOf(fields));
}

function shapeOf(fields: Fields, required: readonly string[], description: string): JsonSchema {
  const properties = Object.fromEntries(Object.entries(fields).map(([name, { json }]) => [name, json]));
  const words = description === "" ? {} : { description };
  return { type: "object", ...words, properties, required, additionalProperties: false };
}

function partsOf(fields: Fields): Readonly<Record<string, JsonSchema>> {
  return Object.assign({}, ...Object.values(fields).map(({ parts }) => parts));
}

/** Gives a schema a name, under which the document has it once. */
export function named<Value>(name: string, { json, parts }: Schema<Value>): Schema<Value> {
  return make({ $ref: `#/components/schemas/${name}` }, { ...parts, [name]: json });
}

/** Says why a value is not one of a schema without references; undefined: it is. */
export function whyNot(schema: JsonSchema, value: unknown, at = "the body"): string | undefined {
  const types = ([] as unknown[]).concat(schema.type ?? []);
  if (types.length > 0 && !types.some((type) => isOf(type, value)))
    return `${at} must be ${types.map((type) => (type === "object" ? "an object" : `of type ${type}`)).join(" or ")}`;
  if (value === null) return undefined;
  const words = schema.enum as readonly unknown[] | undefined;
  if (words !== undefined && !words.includes(value)) return `${at} must be one of ${words.join(", ")}`;
  if (typeof value === "string") return whyNotText(schema, value, at);
  if (typeof value === "number") return whyNotNumber(schema, value, at);
  return typeof value === "object" ? whyNotObject(schema, value, at) : undefined;
}

function whyNotText({ minLength = 0, maxLength = Infinity, pattern }: JsonSchema, value: string, at: string) {
  if (value.length < (minLength as number)) return `${at} must not be empty`;
  if (value.length > (maxLength as number)) return `${at} must have ${maxLength} characters at most`;
  if (pattern !== undefined && !new RegExp(pattern as string, "u").test(value)) return `${at} must be like ${pattern}`;
  return undefined;
}

function whyNotNumber({ minimum = -Infinity, maximum = Infinity }: JsonSchema, value: number, at: string) {
  if (value < (minimum as number)) return `${at} must be ${minimum} at least`;
  return value > (maximum as number) ? `${at} must be ${maximum} at most` : undefined;
}

function whyNotObject(schema: JsonSchema, value: object, at: string): string | undefined {
  const properties = (schema.properties ?? {}) as Readonly<Record<string, JsonSchema>>;
  const missing = ((schema.required ?? []) as readonly string[]).find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) return `${at} must have "${missing}"`;
  for (const [name, part] of Object.entries(value)) {
    if (!Object.hasOwn(properties, name))
      return `${at} has no field ${JSON.stringify(name.slice(0, 40))}; there are ${Object.keys(properties).join(", ")}`;
    const why = whyNot(properties[name]!, part, `"${name}"`);
    if (why !== undefined) return why;
  }
  return undefined;
}

function isOf(type: unknown, value: unknown): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "integer":
      return Number.isSafeInteger(value);
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    default:
      return typeof value === type;
  }
}
