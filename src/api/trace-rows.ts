/** The rows of traces: what happens to a client or a message, as it is told over the API. */
import { integer, named, nullable, type Of, object, text, time, word } from "./schema.ts";

export const traceRowKinds = [
  "begun",
  "connected",
  "disconnected",
  "refused",
  "received",
  "sent",
  "published",
  "arrived",
  "routed",
  "delivered",
  "stored",
  "settled",
  "dropped",
  "skipped",
  "unanswered",
] as const;

export const traceSchema = named(
  "TraceEvent",
  object({
    at: time("when, by the broker's clock"),
    broker: text("at which broker"),
    kind: word(
      traceRowKinds,
      "begun: it is followed from now on; received, sent: a packet of the client's, as on the wire; published, arrived: " +
        "a message has come from a client, or another broker; routed: to whom it goes; delivered, stored, dropped: what " +
        "became of it for one client; settled: how its publisher was answered; skipped: there were more than are told; " +
        "unanswered: a broker does not tell",
    ),
    client_id: nullable(text("the client")),
    user: nullable(text("its user")),
    address: nullable(text("its address")),
    topic: nullable(text("the topic of the message")),
    reason_code: nullable(integer("the reason code of the packet")),
    text: text("what happened, in words"),
    payload_base64: nullable(text("the first bytes of the payload, if they were asked for")),
  }),
);
export type TraceRow = Of<typeof traceSchema>;
