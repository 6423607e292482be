/** Rows of topics: levels of their tree, and where is published. */
import { integer, named, type Of, object, text } from "./schema.ts";

export const topicSchema = named(
  "TopicLevel",
  object({
    level: text("the name of the level, which may be empty"),
    topic: text("the topic that ends with it"),
    retained: integer("retained messages there and below"),
    published: integer("topics there and below that were lately published on through this broker"),
  }),
);
export type TopicRow = Of<typeof topicSchema>;

export const publisherSchema = named(
  "Publisher",
  object({ topic: text("the topic"), broker: text("the broker whose clients have lately published on it") }),
);
export type PublisherRow = Of<typeof publisherSchema>;
