/** A trace that is read in the background, for tests that wait until something has been told. */
import type { ApiClient, HeardEvent } from "./api.ts";
import { eventually } from "./broker.ts";

// biome-ignore lint/suspicious/noExplicitAny: rows whose schema has just been checked.
type Row = any;

export class Traced {
  readonly rows: Row[] = [];
  /** The reason why the trace has ended; undefined: it has not. */
  ended: string | undefined;
  readonly #leave: () => void;

  private constructor(leave: () => void) {
    this.#leave = leave;
  }

  /** Begins a trace; it is followed when this resolves. */
  static async begin(api: ApiClient, query: string): Promise<Traced> {
    const reader = await api.listen(`/trace?${query}`);
    const traced = new Traced(() => reader.leave());
    const take = ({ name, data }: HeardEvent): void => {
      if (name === "end") traced.ended = data.reason;
      else traced.rows.push(data);
    };
    take((await reader.next())!);
    void (async () => {
      for (let event = await reader.next(); event !== undefined; event = await reader.next()) take(event);
    })().catch(() => {});
    return traced;
  }

  /** Waits until something has been told of that kind, whose words match. */
  async until(kind: string, words: RegExp | string, more: object = {}): Promise<Row> {
    const isIt = (row: Row): boolean =>
      row.kind === kind &&
      (typeof words === "string" ? row.text.includes(words) : words.test(row.text)) &&
      Object.entries(more).every(([name, value]) => row[name] === value);
    await eventually(() => this.rows.some(isIt), `${kind}: ${words}: of ${this.words.join("\n")}`);
    return this.rows.find(isIt);
  }

  /** All that was told so far, kind and words. */
  get words(): string[] {
    return this.rows.map(({ broker, kind, client_id, text }) => `${broker} ${kind} ${client_id}: ${text}`);
  }

  leave(): void {
    this.#leave();
  }
}
