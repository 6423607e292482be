/** Operations that list: with a cursor and a limit, sorted, a page at a time. */
import { pageRowsMax, pageRowsPlainMax } from "../base/api-limits.ts";
import {
  type Candidates,
  decodeCursor,
  encodeCursor,
  type Key,
  type Page,
  Selection,
  shortName,
  type Wanted,
} from "./page.ts";
import type { Reading } from "./ports.ts";
import { Problem } from "./problem.ts";
import { type Call, Listed, type Operation, type OperationOf, operation } from "./route.ts";
import { type Unanswered, unansweredSchema } from "./rows.ts";
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

interface ListParts<Query extends Fields, Row>
  extends Pick<
    OperationOf<Query, undefined, unknown>,
    "id" | "path" | "scope" | "tag" | "summary" | "description" | "role" | "pathWords" | "problems"
  > {
  readonly query: Query;
  readonly row: Schema<Row>;
  /** The orders that it can have; the first is the one where nobody says, the other way round if it begins with -. */
  readonly sorts: readonly [string, ...string[]];
}

/** Finds out about the rows of a page what is not known while all are walked over. */
type Complete<Row> = (
  reading: Reading,
  rows: readonly Row[],
  done: (complete: ((row: Row) => Row) | Problem) => void,
) => void;

export interface ListOf<Query extends Fields, Row> extends ListParts<Query, Row> {
  /** Returns all that are listed, or why there is nothing to list. */
  readonly candidates: (reading: Reading, asked: Asked<Query>) => Candidates<Row> | Problem;
  readonly complete?: Complete<Row>;
}

/** Makes an operation that lists what the broker has in memory. */
export function listOperation<const Query extends Fields, Row>({
  candidates,
  complete = (_, __, done) => done((row) => row),
  ...parts
}: ListOf<Query, Row>): Operation {
  return listing<Query, Row>(parts, ({ reading, run }, asked, done) => {
    const all = candidates(reading, asked);
    if (all instanceof Problem) return done(all);
    const selection = new Selection<Row>(asked.wanted);
    run(selection.choose(all), () => finish({ reading, run }, { selection, complete, done }));
  });
}

interface Finishing<Row> {
  readonly selection: Selection<Row>;
  readonly complete: Complete<Row>;
  readonly done: (page: Page | Problem) => void;
}

/** Completes the rows of a page, and writes it. */
function finish<Row>({ reading, run }: ListCall, { selection, complete, done }: Finishing<Row>): void {
  complete(reading, selection.rows, (completed) => {
    if (completed instanceof Problem) return done(completed);
    run(selection.write(completed), () => done(selection.page));
  });
}

export interface StoredListOf<Query extends Fields, Row> extends ListParts<Query, Row> {
  /** Has the store walked over for all that are listed. `choose`: takes some of them, a page of the store at a time. */
  readonly search: (
    reading: Reading,
    asked: Asked<Query>,
    choose: (some: Candidates<Row>, ahead: Key | undefined, goOn: (isWanted: boolean) => void) => void,
    done: (problem: Problem | undefined) => void,
  ) => void;
  readonly complete?: Complete<Row>;
}

/** Makes an operation that lists what is in the store, of which never more than a page is in memory. */
export function storedListOperation<const Query extends Fields, Row>({
  search,
  complete = (_, __, done) => done((row) => row),
  ...parts
}: StoredListOf<Query, Row>): Operation {
  return listing<Query, Row>(parts, ({ reading, run }, asked, done) => {
    const selection = new Selection<Row>(asked.wanted);
    search(
      reading,
      asked,
      (some, ahead, goOn) => run(selection.choose(some), () => goOn(ahead === undefined || !selection.isBefore(ahead))),
      (problem) => {
        if (problem !== undefined) return done(problem);
        finish({ reading, run }, { selection, complete, done });
      },
    );
  });
}

type ListCall = Pick<Call<Fields, undefined, unknown>, "reading" | "run">;

function listing<const Query extends Fields, Row>(
  { row, sorts, query, ...rest }: ListParts<Query, Row>,
  find: (call: ListCall, asked: Asked<Query>, done: (page: Page | Problem) => void) => void,
): Operation {
  const orders = sorts.flatMap((sort) => [sort.replace("-", ""), `-${sort.replace("-", "")}`]);
  return operation({
    ...rest,
    method: "GET",
    query: {
      ...query,
      sort: word(orders, `what it is sorted by; - for the other way round; ${sorts[0]} where nothing is said`),
      limit: integer(`most items; ${pageRowsPlainMax} where nothing is said`, { minimum: 1, maximum: pageRowsMax }),
      cursor: text("where the page begins: next of the page before"),
    },
    sorts,
    answer: object({
      items: list(row, "the page"),
      next: nullable(text("the cursor of the next page; null: this is the last one")),
      unanswered: list(
        unansweredSchema,
        "the brokers whose rows are missing: they could not be asked, or did not answer",
      ),
    }),
    answerCall({ reading, path, query: asked, run, done }) {
      const wanted = wantedOf(asked, sorts);
      if (wanted instanceof Problem) return done(wanted);
      const sort = sortOf(asked, sorts).replace("-", "");
      find({ reading, run }, { path, query: asked as Values<Query>, sort, wanted }, (page) =>
        done(page instanceof Problem ? page : { value: new Listed(page) }),
      );
    },
  });
}

interface PageQuery {
  readonly sort?: string;
  readonly limit?: number;
  readonly cursor?: string;
}

function sortOf({ sort }: PageQuery, sorts: readonly [string, ...string[]]): string {
  return sort ?? sorts[0];
}

/** Returns the page that a query wants of a list; what is wrong with its cursor, if it is. */
export function wantedOf(query: unknown, sorts: readonly [string, ...string[]]): Wanted | Problem {
  const { limit = pageRowsPlainMax, cursor } = query as PageQuery;
  const sort = sortOf(query as PageQuery, sorts);
  const after = cursor === undefined ? undefined : decodeCursor(cursor, sort);
  if (cursor !== undefined && after === undefined)
    return new Problem(400, "the cursor is none of this list, or of another order");
  return { after, isDescending: sort.startsWith("-"), limit };
}

/** Writes a page as the answer to a query. */
export function writePage(
  { items, next }: Page,
  query: unknown,
  { sorts, unanswered }: { readonly sorts: readonly [string, ...string[]]; readonly unanswered: readonly Unanswered[] },
): string {
  const cursor = next === undefined ? null : encodeCursor(sortOf(query as PageQuery, sorts), next);
  const rest = `"next":${JSON.stringify(cursor)},"unanswered":${JSON.stringify(unanswered)}`;
  return `{"items":[${items.join(",")}],${rest}}`;
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
