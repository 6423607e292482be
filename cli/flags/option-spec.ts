/** One of the broker's options as the command line has it. */
import type { BrokerOptions } from "../../src/broker/core/options.ts";

export interface OptionSpec {
  readonly key: keyof BrokerOptions;
  /** The name of the value behind the flag; undefined: there is none, it is on or off. */
  readonly value?: string;
  readonly help: string;
  /** `values`: all that there are, if they are few. */
  readonly parse: ((text: string) => string | number | boolean) & { readonly values?: readonly string[] };
  /** May be given several times; in a variable separated by spaces. */
  readonly isList?: true;
  /** How the default is shown, where that is not its plain text. */
  readonly shown?: string;
}
