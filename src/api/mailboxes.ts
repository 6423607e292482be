/** The operations on one client's mailbox: to look into it, and to drop what waits there. */
import { clearedAtOnceMax, mailRowsMax, mailRowsPlainMax, shownPayloadBytesMax } from "../base/api-limits.ts";
import { Problem } from "./problem.ts";
import { type Operation, operation } from "./route.ts";
import { waitingSchema } from "./rows.ts";
import { integer, list, nullable, object, text } from "./schema.ts";

const path = "/clients/{client_id}/mailbox";

const peekMailbox = operation({
  id: "peekMailbox",
  scope: "first",
  method: "GET",
  path,
  tag: "clients",
  summary: "Tell what waits in a client's mailbox, in the order in which it is sent.",
  description:
    `Of payloads the first ${shownPayloadBytesMax} bytes are told, and nothing of one that is stored in pieces. ` +
    "It changes nothing: nothing is sent or acknowledged by it.",
  role: "viewer",
  query: {
    limit: integer(`most messages; ${mailRowsPlainMax} where nothing is said`, { minimum: 1, maximum: mailRowsMax }),
    cursor: text("where the page begins: next of the page before"),
  },
  answer: object({
    items: list(waitingSchema, "the page"),
    next: nullable(text("the cursor of the next page; null: this is the last one")),
    total: integer("how many there are in the mailbox"),
  }),
  problems: [404, 409, 504],
  answerCall({ reading, path: { client_id }, query: { limit = mailRowsPlainMax, cursor = "" }, done }) {
    reading.mailbox(client_id!, { after: cursor, limit }, (page) =>
      done(page instanceof Problem ? page : { value: page }),
    );
  },
});

const dropMailbox = operation({
  id: "dropMailbox",
  scope: "first",
  method: "DELETE",
  path,
  tag: "clients",
  summary: "Drop what waits in the mailbox of a client that is away; its credits come back.",
  description:
    `One request drops ${clearedAtOnceMax} at most: ask again as long as \`remaining\` is not 0. What the client may ` +
    "hold already, since it was sent at QoS 2, is kept. A client that is connected is being sent what waits: " +
    "disconnect it first.",
  role: "operator",
  answer: object({
    dropped: integer("how many were dropped"),
    kept: integer("how many of those that were looked at are kept"),
    remaining: integer("how many have not been looked at"),
  }),
  problems: [404, 409, 503, 504],
  answerCall({ acting, path: { client_id }, done }) {
    acting.dropMailbox(client_id!, (value) => {
      if (value instanceof Problem) return done(value);
      const { dropped, kept, remaining } = value;
      const before = `${dropped + kept + remaining} waiting`;
      done({ value: { dropped, kept, remaining }, changed: { before, after: `${dropped} dropped` } });
    });
  },
});

export const mailboxOperations: readonly Operation[] = [peekMailbox, dropMailbox];
