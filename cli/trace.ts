/** `mqttzoo trace`: prints for a while all that happens to a client, a user, an address or a topic. */
import { Command, Option } from "commander";
import type { TraceRow } from "../src/api/trace-rows.ts";
import { OperatingError } from "../src/base/errors.ts";
import { tracePayloadBytesMax, traceSecondsMax, traceSecondsPlain } from "../src/base/trace-limits.ts";
import { type ApiPlace, listenApi } from "../src/server/api-client.ts";
import { withPlace } from "./flags/api-flags.ts";
import { argument, duration, integer } from "./flags/parsers.ts";
import { say, sayJson, tell } from "./output/print.ts";

interface Flags extends ApiPlace {
  readonly client?: string;
  readonly user?: string;
  readonly address?: string;
  readonly topic?: string;
  readonly for: number;
  readonly payload: number;
  readonly json?: boolean;
}

export function traceCommand(): Command {
  const trace = new Command("trace").description(
    "Follow a client, a user, an address or a topic for a while: packets, routing, storing, answers, at every broker.",
  );
  return withPlace(trace)
    .option("--client <ID>", "only this client")
    .option("--user <NAME>", "only clients of this user")
    .option("--address <CIDR>", "only clients from this address, or range: 10.0.0.0/8")
    .option("--topic <FILTER>", "only messages on topics that this filter matches")
    .addOption(
      new Option("--for <TIME>", "how long: 30, 30s, 10m")
        .default(traceSecondsPlain, `${traceSecondsPlain}s`)
        .argParser(argument(duration(1, traceSecondsMax))),
    )
    .addOption(
      new Option("--payload <BYTES>", "show so many bytes of each payload")
        .default(0)
        .argParser(argument(integer(0, tracePayloadBytesMax))),
    )
    .action(run)
    .addHelpText(
      "after",
      `
Any broker of a cluster follows at all of them; which broker tells, stands in each line. It takes an operator: payloads
are others' messages. While somebody follows, brokers handle packets one by one, which costs them time; nobody following
costs nothing. Each broker tells 500 events a second and 100,000 in all; what is left out is counted. What is told of a
connection that is open begins with its next packet. Each trace goes to the audit logs: whose, from where, of what.

  received, sent          a packet from or to the client, as on the wire, with its reason code
  published, arrived      a message has come from a client, or over a link from another broker
  routed                  to which clients and brokers it goes
  delivered, stored       it is sent to a client; it is in a client's mailbox in the store
  dropped, refused        it does not reach a client, or is not taken, and why
  settled                 how its publisher was answered

Examples:
  mqttzoo trace --client sensor-7 --for 5m
  mqttzoo trace --topic 'home/+/temp' --payload 64 --api http://olga:PASSWORD@broker.example.org:8080
  mqttzoo trace --address 10.1.0.0/16 --json | grep refused
  mqttzoo trace --user alice --data /var/lib/mqttzoo`,
    );
}

async function run(flags: Flags): Promise<void> {
  const { client, user, address, topic, json } = flags;
  const query = new URLSearchParams({ seconds: String(flags.for), payload_bytes: String(flags.payload) });
  const wanted = { client_id: client, user, address, topic };
  for (const [name, value] of Object.entries(wanted)) if (value !== undefined) query.set(name, value);
  if (Object.values(wanted).every((value) => value === undefined))
    throw new OperatingError("EUSAGE", "say what to follow: --client, --user, --address or --topic");
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  const told = (_: string, data: string): void => {
    const row = JSON.parse(data) as TraceRow;
    if (json === true) sayJson(row);
    else say(lineOf(row));
  };
  const reason = await listenApi(flags, `/trace?${query}`, { told, signal: stop.signal });
  if (!stop.signal.aborted) tell(`the trace has ended: ${reason}`);
}

/** Returns an event as a line: when, at which broker, whose, what. */
export function lineOf({ at, broker, kind, client_id, topic, text, payload_base64 }: TraceRow): string {
  const whose = client_id === null ? "" : ` ${client_id}`;
  const isInWords = topic === null || text.includes(topic);
  const payload = payload_base64 === null ? "" : ` ${JSON.stringify(Buffer.from(payload_base64, "base64").toString())}`;
  return `${at.slice(11, 23)} ${broker} ${kind.padEnd(9)}${whose}: ${isInWords ? "" : `${topic}: `}${text}${payload}`;
}
