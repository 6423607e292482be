/** The operations of the bank on what is stored, which any broker reads for all: the statement, and the mail. */
import { clearedAtOnceMax, clearedNamesMax, cursorKeyMax } from "../base/api-limits.ts";
import { parseFilter } from "../mqtt/topic.ts";
import { keyBy, keyOf, storedListOperation } from "./lists.ts";
import type { Candidates, Key } from "./page.ts";
import type { FoundMessage } from "./ports.ts";
import { Problem } from "./problem.ts";
import { type Operation, operation } from "./route.ts";
import { type HolderRow, holderKinds, holderSchema, storedSchema } from "./rows.ts";
import { flag, integer, list, object, text, word } from "./schema.ts";

const walkWords =
  "The store is walked over for it, for one at a time: others are told to come later, and after half a minute who has " +
  "asked is told that it takes too long.";

const getStatement = storedListOperation({
  id: "getStatement",
  scope: "asked",
  path: "/bank/statement",
  tag: "bank",
  summary: "Tell who holds the credits, the largest first: by topic, client, user, branch, or how long they are bound.",
  description: walkWords,
  role: "viewer",
  query: { by: word(holderKinds, "what it is added up by; topic where nothing is said") },
  row: holderSchema,
  sorts: ["-credits", "holder"],
  problems: [504],
  search(reading, { query: { by = "topic" }, sort }, choose, done) {
    reading.holders(by, {
      found: (rows, _, goOn) => choose(holdersBy(rows, sort), undefined, goOn),
      done,
    });
  },
});

function* holdersBy(rows: Iterable<HolderRow>, sort: string): Candidates<HolderRow> {
  for (const row of rows) {
    // Nobody, who is last, is another one than he whose name is empty.
    const name = row.holder === null ? "\uffff" : row.holder;
    yield { key: sort === "credits" ? keyBy(row.credits, name) : keyOf(name), row: () => row };
  }
}

/** The orders of stored messages. The first one is the store's: there a page is found without all that is before it. */
const mailSorts = ["path", "topic", "bytes", "credits", "expires_at"] as const;

const listMail = storedListOperation({
  id: "listMail",
  scope: "asked",
  path: "/bank/mail",
  tag: "bank",
  summary: "List stored messages, retained ones among them, without their payloads.",
  description: walkWords,
  role: "viewer",
  query: {
    filter: text("only those whose topics match this filter; all where nothing is said", { minLength: 1 }),
    client_id: text("only what waits for this client"),
  },
  row: storedSchema,
  sorts: mailSorts,
  problems: [504],
  search(reading, { query: { filter, client_id: clientId }, sort, wanted }, choose, done) {
    if (!isFilter(filter)) return done(noFilter);
    const by = sort as (typeof mailSorts)[number];
    const isInOrder = by === "path" && !wanted.isDescending;
    // The end of a long name is a hash.
    const after = isInOrder ? (wanted.after?.name.slice(0, cursorKeyMax) ?? "") : "";
    reading.stored(
      { filter, clientId, after },
      {
        found: (messages, ahead, goOn) =>
          choose(messagesBy(messages, by), isInOrder ? placeOf(ahead) : undefined, goOn),
        done,
      },
    );
  },
  complete(reading, rows, done) {
    reading.waiting(rows, (waiting) =>
      done(waiting instanceof Problem ? waiting : (row) => ({ ...row, waiting: waiting.get(row.path) ?? 0 })),
    );
  },
});

function* messagesBy(
  messages: Iterable<FoundMessage>,
  by: (typeof mailSorts)[number],
): Candidates<FoundMessage["row"]> {
  for (const { place, row } of messages)
    yield { key: by === "path" ? keyOf(place) : keyBy(row[by], row.path), row: () => row };
}

function placeOf(ahead: string | undefined): Key | undefined {
  return ahead === undefined ? undefined : { by: "", name: ahead.slice(0, cursorKeyMax) };
}

const noFilter = new Problem(400, "filter is no topic filter");

function isFilter(filter: string | undefined): boolean {
  return filter === undefined || (parseFilter(filter) !== undefined && !filter.startsWith("$share/"));
}

const dropMail = operation({
  id: "dropMail",
  scope: "asked",
  method: "DELETE",
  path: "/bank/mail",
  tag: "bank",
  summary: "Drop all stored messages whose topics match a filter; unless dry_run is false, only tell which.",
  description:
    `One request drops ${clearedAtOnceMax} at most: ask again as long as \`remaining\` is not 0. Their credits come ` +
    "back within seconds. Of what waits for one client only his part is dropped: a message goes with the last of its " +
    `clients. ${walkWords}`,
  role: "operator",
  query: {
    filter: text("the topic filter", { minLength: 1 }),
    client_id: text("only what waits for this client"),
    dry_run: flag("true, and where nothing is said: drop nothing"),
  },
  needed: ["filter"],
  answer: object({
    dry_run: flag("whether nothing was dropped"),
    matched: integer("how many match"),
    dropped: integer("how many were dropped"),
    remaining: integer("how many match and are left"),
    paths: list(text("a znode"), `the first ${clearedNamesMax} of those that match`),
  }),
  problems: [504],
  answerCall({ query: { filter, client_id: clientId, dry_run = true }, acting, done }) {
    if (!isFilter(filter)) return done(noFilter);
    acting.dropStored({ filter, clientId, isDryRun: dry_run }, (told) => {
      if (told instanceof Problem) return done(told);
      const { matched, dropped, paths } = told;
      const value = { dry_run, matched, dropped, remaining: matched - dropped, paths };
      done({ value, changed: dry_run ? {} : { before: `${matched} stored`, after: `${dropped} dropped` } });
    });
  },
});

const sweep = operation({
  id: "sweep",
  scope: "first",
  method: "POST",
  path: "/bank/sweep",
  tag: "bank",
  summary: "Begin to remove what has outlived its time, as the teller does by itself every 30 seconds, or less often.",
  description:
    "It is answered when the round has begun, or follows the one that is under way: credits come back as it goes.",
  role: "operator",
  answer: object({ teller: text("the broker that sweeps: the member with the lowest id") }),
  problems: [404, 504],
  answerCall({ reading, acting, done }) {
    done(acting.sweep() ?? { value: { teller: reading.id }, changed: { after: "a round has begun" } });
  },
});

export const bankOperations: readonly Operation[] = [getStatement, listMail, dropMail, sweep];
