/** Operations that list: with a cursor and a limit, sorted, a page at a time. */
import { pageRowsMax, pageRowsPlainMax } from "../base/api-limits.ts";
import { type Candidates, decodeCursor, encodeCursor, type Key, Selection, shortName, type Wanted } from "./page.ts";
import type { Reading } from "./ports.ts";
import { Problem } from "./problem.ts";
import { type Operation, type OperationOf, operation, Written } from "./route.ts";
import { integer, list, nullable, type Of, object, type Schema, text, word } from "./schema.ts";

type Fields = Readonly<Record<string, Schema<unknown>>>;
type Values<F extends Fields> = { readonly [Name in keyof F]?: Of<F[Name]> };

/** A request for a page of a list. */
export interface Asked<Query extends Fields> {
  readonly path: Readonly<Record<string, string>>;
  readonly query: Values<Query>;
  /** The order of the list, without its direction. */
  readonly sort: string;
  readonly wanted: Wanted;
}

export interface ListOf<Query extends Fields, Row>
  extends Pick<
    OperationOf<Query, undefined, unknown>,
    "id" | "path" | "tag" | "summary" | "description" | "role" | "pathWords" | "problems"
  > {
  readonly query: Query;
  readonly row: Schema<Row>;
  /** The orders that it can have; the first is the one where nobody says. */
  readonly sorts: readonly [string, ...string[]];
  /** Returns all that are listed, or why there is nothing to list. */
  readonly candidates: (reading: Reading, asked: Asked<Query>) => Candidates<Row> | Problem;
}

/** Makes an operation that lists. */
export function listOperation<const Query extends Fields, Row>(parts: ListOf<Query, Row>): Operation {
  const { row, sorts, candidates, query, ...rest } = parts;
  const orders = sorts.flatMap((sort) => [sort, `-${sort}`]);
  return operation({
    ...rest,
    method: "GET",
    query: {
      ...query,
      sort: word(orders, `what it is sorted by; - for the other way round; ${sorts[0]} where nothing is said`),
      limit: integer(`most items; ${pageRowsPlainMax} where nothing is said`, { minimum: 1, maximum: pageRowsMax }),
      cursor: text("where the page begins: next of the page before"),
    },
    answer: object({
      items: list(row, "the page"),
      next: nullable(text("the cursor of the next page; null: this is the last one")),
    }),
    answerCall({ reading, path, query: asked, run, done }) {
      const values = asked as Readonly<Record<string, unknown>>;
      const {
        sort = sorts[0],
        limit = pageRowsPlainMax,
        cursor,
      } = values as { sort?: string; limit?: number; cursor?: string };
      const after = cursor === undefined ? undefined : decodeCursor(cursor, sort);
      if (cursor !== undefined && after === undefined)
        return done(new Problem(400, "the cursor is none of this list, or of another order"));
      const wanted = { after, isDescending: sort.startsWith("-"), limit };
      const all = candidates(reading, { path, query: asked as Values<Query>, sort: sort.replace("-", ""), wanted });
      if (all instanceof Problem) return done(all);
      const selection = new Selection<Row>(wanted);
      run(selection.walk(all), () => {
        const { items, next } = selection.page;
        const cursor = next === undefined ? null : encodeCursor(sort, next);
        done({ value: new Written(`{"items":[${items.join(",")}],"next":${JSON.stringify(cursor)}}`) });
      });
    },
  });
}

/** Returns the key of what is sorted by a name alone. */
export function keyOf(name: string): Key {
  return { by: "", name: shortName(name) };
}

/** Returns the key of what is sorted by a value; null comes first. */
export function keyBy(value: string | number | null, name: string): Key {
  const by = typeof value === "number" ? value : shortName(value ?? "");
  return { by, name: shortName(name) };
}
