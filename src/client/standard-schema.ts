/** Validators of any make (Zod, Valibot, ArkType ...): what https://standardschema.dev says they have in common. */
import { messageOf } from "../base/errors.ts";
import { ValidationFailed } from "./errors.ts";

/** Version 1 of the interface. `Input` is what comes in, `Output` what validation makes of it. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string }[] };

/**
 * Throws, or rejects with, `ValidationFailed`.
 * @internal
 */
export function validate<Output>(
  schema: StandardSchema<unknown, Output>,
  value: unknown,
  what: string,
): Output | Promise<Output> {
  const result = schema["~standard"].validate(value);
  return result instanceof Promise ? result.then((settled) => outputOf(settled, what)) : outputOf(result, what);
}

function outputOf<Output>(result: SchemaResult<Output>, what: string): Output {
  if (result.issues !== undefined) throw new ValidationFailed(what, result.issues);
  return result.value;
}

/**
 * Throws `ValidationFailed`.
 * @internal
 */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ValidationFailed(`${what} is not JSON`, [{ message: messageOf(error) }]);
  }
}
