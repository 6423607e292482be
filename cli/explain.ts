/** `mqttzoo explain`: says why a client did not get a message, and what became of a message. */
import { Command, Option } from "commander";
import type { Explanation, FindingRow } from "../src/api/explain-rows.ts";
import type { TraceRow } from "../src/api/trace-rows.ts";
import { OperatingError } from "../src/base/errors.ts";
import { traceSecondsMax } from "../src/base/trace-limits.ts";
import { type ApiPlace, askApi, listenApi } from "../src/server/api-client.ts";
import { withPlace } from "./flags/api-flags.ts";
import { argument, duration } from "./flags/parsers.ts";
import type { Style } from "./output/colours.ts";
import { complain, say, sayJson, sayPainted, tell } from "./output/print.ts";
import { lineOf } from "./trace.ts";

interface Flags extends ApiPlace {
  readonly client?: string;
  readonly topic?: string;
  readonly message?: string;
  readonly for?: number;
  readonly json?: boolean;
}

/** How long is waited for what follows a message, once it has come. */
const afterMessageMs = 2000;

const headings = {
  certain: "It does not come because:",
  possible: "It may be that:",
  fact: "What is so besides:",
} as const;

const styles: Readonly<Record<keyof typeof headings, Style>> = { certain: "red", possible: "yellow", fact: "cyan" };

export function explainCommand(): Command {
  const explain = new Command("explain").description(
    "Say why a client did not get what was published on a topic, or what became of a message.",
  );
  return withPlace(explain)
    .option("--client <ID>", "the client that did not get it; with --message its publisher")
    .option("--topic <TOPIC>", "the topic on which it was published")
    .option("--message <TOPIC>", "what became of the last messages on this topic")
    .addOption(
      new Option("--for <TIME>", "with --message: wait so long for the next one, and tell its way: 30s, 5m").argParser(
        argument(duration(1, traceSecondsMax)),
      ),
    )
    .action(run)
    .addHelpText(
      "after",
      `
Every broker is asked. They answer from sessions, subscriptions and rights as they are now, and from the last refusals and
drops, which they always remember: 500, and of 500 clients. With --for the next message is followed on its way, which
takes an operator and costs the brokers time while it lasts, as mqttzoo trace does.

Examples:
  mqttzoo explain --client sensor-7 --topic home/kitchen/set
  mqttzoo explain --client sensor-7 --topic home/kitchen/set --api http://olga:PASSWORD@broker.example.org:8080
  mqttzoo explain --message home/kitchen/temp
  mqttzoo explain --message home/kitchen/temp --client sensor-7 --for 1m --json`,
    );
}

async function run(flags: Flags): Promise<void> {
  const { client, topic, message, json } = flags;
  const isDelivery = client !== undefined && topic !== undefined;
  if (isDelivery === (message !== undefined) || (message !== undefined && topic !== undefined))
    throw new OperatingError("EUSAGE", "say either --client ID and --topic TOPIC, or --message TOPIC");
  if (flags.for !== undefined && message === undefined)
    throw new OperatingError("EUSAGE", "--for goes with --message: mqttzoo trace follows a client");
  const query = new URLSearchParams({ topic: message ?? topic! });
  if (client !== undefined) query.set("client_id", client);
  const path = message === undefined ? "/explain" : "/explain/message";
  const { findings, unanswered } = (await askApi(flags, "GET", `${path}?${query}`)) as Explanation;
  for (const { broker, why } of unanswered) complain(`broker ${broker} is missing: ${why}`);
  if (json === true) for (const finding of findings) sayJson(finding);
  else sayFindings(findings, message === undefined);
  if (message !== undefined && flags.for !== undefined) await followNext(flags, message);
}

/** Says what was found: first why it does not come, then what is possible, then what else is so. */
function sayFindings(findings: readonly FindingRow[], isDelivery: boolean): void {
  if (findings.length === 0) return say("nothing is known of it");
  for (const weight of ["certain", "possible", "fact"] as const) {
    const some = findings.filter((one) => one.weight === weight);
    if (some.length === 0) continue;
    if (isDelivery) sayPainted([headings[weight], "bold"]);
    for (const { broker, cause, text } of some)
      sayPainted("  ", [`[${cause}]`, styles[weight]], ` ${text} `, [`(broker ${broker})`, "dim"]);
  }
}

/** Tells the way of the next message on a topic. */
async function followNext(flags: Flags, topic: string): Promise<void> {
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  tell(`waiting for the next message on ${topic}`);
  let isOver = false;
  const told = (_: string, data: string): void => {
    const row = JSON.parse(data) as TraceRow;
    if (row.kind === "begun") return;
    if (flags.json === true) sayJson(row);
    else say(lineOf(row));
    if (row.kind !== "published" || isOver) return;
    isOver = true;
    void Bun.sleep(afterMessageMs).then(() => stop.abort());
  };
  const query = new URLSearchParams({ topic, seconds: String(flags.for) });
  await listenApi(flags, `/trace?${query}`, { told, signal: stop.signal });
  if (!isOver && !stop.signal.aborted) tell("no message has come");
}
