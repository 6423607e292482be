/** Topic filters whose wildcards have names: `room/{id}/temp` is `room/+/temp`, `logs/{...path}` is `logs/#`. */
import { type Filter, parseFilter } from "../mqtt/topic.ts";
import { checkText } from "./checks.ts";

/** The names in a pattern, as a type; any, where the pattern is not known when types are checked. */
type Names<Pattern extends string> = string extends Pattern
  ? string
  : Pattern extends `${infer Level}/${infer Rest}`
    ? NameOf<Level> | Names<Rest>
    : NameOf<Pattern>;

type NameOf<Level extends string> = Level extends `{...${infer Name}}`
  ? Name
  : Level extends `{${infer Name}}`
    ? Name
    : never;

/**
 * The texts that a topic has in the places that a pattern names: `{ id: string }` for `room/{id}/temp`; for several
 * patterns, those of one of them.
 */
export type Params<Pattern extends string> = Pattern extends string
  ? { readonly [Name in Names<Pattern>]: string }
  : never;

/** Where the pattern is not known when types are checked. */
export type AnyParams = Params<string>;

interface Place {
  readonly name: string;
  /** Level of the topic. */
  readonly level: number;
  /** True if it stands for all levels from there on. */
  readonly isRest: boolean;
}

/** @internal */
export interface TopicPattern {
  /** As the application has written it. */
  readonly given: string;
  /** As it is subscribed to. */
  readonly text: string;
  readonly filter: Filter;
  readonly places: readonly Place[];
}

/**
 * Throws a `TypeError` that says what is wrong with it.
 * @internal
 */
export function parsePattern(pattern: string): TopicPattern {
  checkText("a topic filter", pattern);
  const isShared = pattern.startsWith("$share/");
  const places: Place[] = [];
  const text = pattern
    .split("/")
    .map((level, index) => {
      const name = /^\{(\.\.\.)?([^{}.]+)\}$/.exec(level);
      if (name === null) {
        if (/[{}]/.test(level)) throw new TypeError(`${pattern}: {name} must be a whole level, ${level} is not`);
        return level;
      }
      if (places.some((place) => place.name === name[2])) throw new TypeError(`${pattern}: {${name[2]}} stands twice`);
      const isRest = name[1] !== undefined;
      // The group's name and the word before it are no levels of the topic.
      places.push({ name: name[2]!, level: isShared ? index - 2 : index, isRest });
      return isRest ? "#" : "+";
    })
    .join("/");
  const filter = parseFilter(text);
  if (filter === undefined) throw new TypeError(`${JSON.stringify(pattern)} is not a topic filter`);
  return { given: pattern, text, filter, places };
}

/**
 * Parses the patterns of one subscription. Throws a `TypeError`, also if there are none.
 * @internal
 */
export function parsePatterns(given: string | readonly string[]): readonly TopicPattern[] {
  if (!Array.isArray(given)) return [parsePattern(given as string)];
  if (given.length === 0) throw new TypeError("a subscription needs a topic filter");
  return given.map(parsePattern);
}

/** @internal */
export function paramsOf({ places }: TopicPattern, topic: string): Record<string, string> {
  const params: Record<string, string> = {};
  if (places.length === 0) return params;
  const levels = topic.split("/");
  for (const { name, level, isRest } of places)
    params[name] = isRest ? levels.slice(level).join("/") : (levels[level] ?? "");
  return params;
}
