/** YAML read with its lines: whatever is wrong is told with the file and the line in which it stands. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from "yaml";
import { OperatingError } from "../../src/base/errors.ts";

/** The deepest that a value may be nested. */
const depthMax = 50;

/** A value of a file that knows where it stands. */
export class YamlValue {
  readonly #file: YamlFile;
  readonly #node: Node | null;
  readonly line: number;

  constructor(file: YamlFile, node: Node | null, line: number) {
    this.#file = file;
    this.#node = node;
    this.line = line;
  }

  /** Throws `OperatingError` (EUSAGE) that names file and line. */
  refuse(why: string): never {
    throw new OperatingError("EUSAGE", `${this.#file.path}, line ${this.line}: ${why}`);
  }

  get isMap(): boolean {
    return isMap(this.#node);
  }

  get isList(): boolean {
    return isSeq(this.#node);
  }

  /** The plain value; undefined: it is a map or a list. */
  get scalar(): unknown {
    return isScalar(this.#node) ? this.#node.value : undefined;
  }

  /** The plain value as it is written, in whatever YAML would make of it; undefined: it is a map, a list, or empty. */
  get text(): string | undefined {
    if (!isScalar(this.#node) || this.#node.value === null) return undefined;
    return this.#node.source ?? String(this.#node.value);
  }

  /** Returns the members of a map. Throws `OperatingError` if it is none, or has other keys than these. */
  members(known: readonly string[]): ReadonlyMap<string, YamlValue> {
    const members = this.allMembers();
    for (const [key, { line }] of members)
      if (!known.includes(key))
        new YamlValue(this.#file, null, line).refuse(
          `there is no ${JSON.stringify(key)} here; there are ${known.join(", ")}`,
        );
    return members;
  }

  /** Returns the members of a map, whatever their names. Throws `OperatingError` if it is none. */
  allMembers(): ReadonlyMap<string, YamlValue> {
    if (!isMap(this.#node)) return this.refuse('lines of "key: value" are due');
    return new Map(
      this.#node.items.map((pair: Pair): [string, YamlValue] => {
        const key = pair.key as Node;
        const line = this.#file.lineOf(key, this.line);
        if (!isScalar(key)) return new YamlValue(this.#file, null, line).refuse("a key must be a word");
        return [String(key.value), this.#file.valueOf(pair.value as Node | null, line)];
      }),
    );
  }

  /** Returns the items of a list. Throws `OperatingError` if it is none. */
  items(): YamlValue[] {
    if (!isSeq(this.#node)) return this.refuse("a list is due, each item behind a -");
    return this.#node.items.map((item) => this.#file.valueOf(item as Node | null, this.line));
  }

  /** Calls `make` with each text within, and returns all as it is otherwise. Throws `OperatingError`. */
  map<Made>(make: (value: YamlValue) => Made, depth = 0): Nested<Made> {
    if (depth > depthMax) return this.refuse("it is nested too deep");
    if (this.isList) return this.items().map((item) => item.map(make, depth + 1));
    if (!this.isMap) return make(this);
    return Object.fromEntries([...this.allMembers()].map(([key, value]) => [key, value.map(make, depth + 1)]));
  }
}

/** Maps and lists with something else at their leaves. */
export type Nested<Leaf> = Leaf | Nested<Leaf>[] | { readonly [key: string]: Nested<Leaf> };

/** A file of one document. */
export class YamlFile {
  readonly path: string;
  readonly root: YamlValue;
  readonly #lines = new LineCounter();

  /** Throws `OperatingError` (EUSAGE) for what is no YAML, keys that stand twice among it. */
  constructor(path: string, text: string) {
    this.path = path;
    const document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false, uniqueKeys: true });
    const [error] = document.errors;
    if (error !== undefined) {
      const why = error.code === "DUPLICATE_KEY" ? "this key stands there twice" : error.message.split("\n")[0]!;
      throw new OperatingError("EUSAGE", `${path}, line ${this.#lines.linePos(error.pos[0]).line}: ${why}`);
    }
    this.root = this.valueOf(document.contents as Node | null, 1);
  }

  /** Returns a value; one that is empty stands where its key does. Throws `OperatingError` for an alias. */
  valueOf(node: Node | null, line: number): YamlValue {
    const value = new YamlValue(this, node, node === null ? line : this.lineOf(node, line));
    return isAlias(node) ? value.refuse("aliases (*) are not taken: write the value again") : value;
  }

  lineOf(node: Node, otherwise: number): number {
    return node.range ? this.#lines.linePos(node.range[0]).line : otherwise;
  }
}
