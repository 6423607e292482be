/** `mqttzoo doctor`: what a broker can do, how it behaves, what is wrong, and what to do. Works with any broker. */
import { Command } from "commander";
import { messageOf, OperatingError } from "../src/base/errors.ts";
import { type Check, checks, type Finding, lookAtVersions, type Result } from "./doctor/checks.ts";
import { Patient } from "./doctor/patient.ts";
import { lookSn, SnPatient, snChecks } from "./doctor/sn-checks.ts";
import { withUser } from "./flags/auth-flags.ts";
import { readBrokerUrl, urlForms } from "./flags/broker-url.ts";
import { checkTopic } from "./flags/client-flags.ts";
import { usage } from "./flags/parsers.ts";
import {
  addPlaceOptions,
  addUrlOption,
  defaultPort,
  lookedUp,
  type PlaceFlags,
  placesOf,
  secretOf,
  whereOf,
} from "./flags/place-flags.ts";
import { refuseWithSn } from "./flags/sn-client-flags.ts";
import type { Style } from "./output/colours.ts";
import { complain } from "./output/print.ts";
import { printRows, type Row } from "./output/table.ts";

interface DoctorFlags extends PlaceFlags {
  readonly topic: string;
  readonly sn?: boolean;
  readonly json?: boolean;
}

export function doctorCommand(): Command {
  const command = new Command("doctor").description("Find out what a broker can do, and what is wrong.");
  addUrlOption(addPlaceOptions(command), { isShort: false });
  return command
    .argument("[HOST]", `the same as -h, or ${urlForms}`)
    .option("-t, --topic <TOPIC>", "where messages for trial are published", "mqttzoo-doctor")
    .option("--sn", "look at it over MQTT-SN 1.2 (UDP), at its --sn-port")
    .option("--json", "print one JSON object a line")
    .addHelpText(
      "after",
      `
Publishes below that topic, and leaves nothing behind. Ends with 1 if something is broken.

Examples:
  mqttzoo doctor
  mqttzoo doctor broker.example.org -p 8883 --tls-use-os-certs -u alice --pw-file secret
  mqttzoo doctor --sn -h broker.example.org -p 1883
  mqttzoo doctor mqtts://test.mosquitto.org:8886 --json
  mqttzoo doctor --profile home
  mqttzoo doctor wss://test.mosquitto.org:8081/mqtt`,
    )
    .action(run);
}

async function run(host: string | undefined, flags: DoctorFlags): Promise<void> {
  checkTopic(flags.topic);
  const text = host?.includes("://") === true ? host : flags.url;
  const url = text === undefined ? undefined : readBrokerUrl(text);
  if (url?.topic !== undefined) usage("a topic is given with -t, not in the URL");
  const named = host !== undefined && host !== text ? { ...flags, host } : flags;
  if (flags.sn === true) return runSn(url !== undefined, named);
  const where = whereOf(named, url);
  const { tls } = where;
  const [place] = await lookedUp(where, flags);
  const password = secretOf(flags.pw ?? url?.password, flags.pwFile);
  const username = flags.username ?? url?.username;
  const patient = new Patient(
    place!,
    withUser(tls === undefined ? {} : { tls }, flags, { username, password }),
    flags.topic,
  );
  const rows = await examine(patient);
  patient.leave();
  report(rows, flags);
}

/** Examines a gateway of MQTT-SN. Rejects with `OperatingError` if nobody is there. */
async function runSn(isUrl: boolean, flags: DoctorFlags): Promise<void> {
  refuseWithSn(flags);
  if (isUrl) usage("--sn does not go with mqtt(s):// or another URL: name the host, and the port with -p");
  const [place] = placesOf({ host: flags.host, port: flags.port ?? defaultPort(undefined) });
  const patient = new SnPatient(place!, flags.topic);
  // Where nobody answers at all there is nothing to be examined.
  (await patient.visit()).leave();
  const rows: Row[] = [];
  for (const check of snChecks) rows.push(rowOf(check.name, await lookSn(check, patient)));
  patient.leave();
  report(rows, flags);
}

/** Prints what was found, and ends. */
function report(rows: readonly Row[], flags: DoctorFlags): never {
  printRows(rows, flags.json === true, styleOf);
  const broken = rows.filter(({ result }) => result === ("fail" satisfies Result)).length;
  if (broken > 0) complain(`${broken === 1 ? "one thing is" : `${broken} things are`} broken`);
  process.exit(broken === 0 ? 0 : 1);
}

const resultStyles: Readonly<Record<Result, Style>> = { ok: "green", note: "cyan", warn: "yellow", fail: "red" };

function styleOf(column: string, value: Row[string]): Style | undefined {
  return column === "result" ? resultStyles[value as Result] : undefined;
}

/** Rejects with `OperatingError` if it cannot be reached, or does not let us in. */
async function examine(patient: Patient): Promise<Row[]> {
  const rows = [rowOf("versions", await lookAtVersions(patient))];
  for (const check of checks) {
    if (check.needs5 === true && patient.version !== 5) continue;
    rows.push(rowOf(check.name, await look(check, patient)));
  }
  return rows;
}

async function look({ look: lookAt, advice }: Check, patient: Patient): Promise<Finding> {
  try {
    return await lookAt(patient);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return { result: "fail", found: messageOf(error), advice };
  }
}

function rowOf(check: string, { result, found, advice }: Finding): Row {
  return { check, result, found, advice: advice ?? null };
}
