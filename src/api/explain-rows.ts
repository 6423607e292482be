/** The rows of explanations: what is known of why a message does not come. */
import { unansweredSchema } from "./rows.ts";
import { list, named, type Of, object, text, word } from "./schema.ts";

export const explainedCauses = [
  "no session",
  "away",
  "session elsewhere",
  "taken over",
  "not subscribed",
  "filter",
  "no right",
  "qos",
  "no local",
  "shared",
  "retain handling",
  "packet size",
  "expired",
  "slow",
  "queue full",
  "mailbox full",
  "window full",
  "waiting",
  "refused",
  "connect refused",
  "held back",
  "published",
  "no publisher",
  "nobody",
  "receiver",
  "link",
  "clock",
  "store",
  "retained",
  "mail drop",
  "own topic",
  "should get",
] as const;

export const findingSchema = named(
  "Finding",
  object({
    broker: text("the broker that knows it"),
    cause: word(explainedCauses, "what it is, in a word"),
    weight: word(
      ["certain", "possible", "fact"],
      "certain: for that the message does not come; possible: it may be for that; fact: it is so, and keeps nothing away",
    ),
    text: text("what it is, and what helps, in words"),
  }),
);
export type FindingRow = Of<typeof findingSchema>;

export const explanationSchema = object({
  findings: list(findingSchema, "what is known, the certain first"),
  unanswered: list(unansweredSchema, "the brokers that were not asked, or did not answer"),
});
export type Explanation = Of<typeof explanationSchema>;
