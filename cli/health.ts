/** `mqttzoo health`: asks a broker on this machine how it is; for probes where there is no shell. */
import { Command, Option } from "commander";
import { OperatingError } from "../src/base/errors.ts";
import { hostOnThisMachine } from "../src/base/ip-address.ts";
import { askHealth, probes } from "../src/server/health.ts";
import { argument, integer, parseFlag } from "./flags/parsers.ts";
import { printRows } from "./output/table.ts";

interface Flags {
  readonly httpHost: string;
  readonly httpPort?: number;
  readonly httpTls?: boolean;
  readonly probe: keyof typeof probes;
  readonly timeout: number;
  readonly after: number;
  readonly json?: boolean;
}

export function healthCommand(): Command {
  return new Command("health")
    .description("Ask the broker on this machine how it is: exit code 0 if it is well, or 1.")
    .helpOption("--help", "print this help")
    .addOption(
      new Option("--http-port <PORT>", "its --http-port")
        .env("MQTTZOO_HTTP_PORT")
        .argParser(argument(integer(1, 65_535))),
    )
    .addOption(new Option("--http-host <ADDRESS>", "its --http-host").env("MQTTZOO_HTTP_HOST").default("127.0.0.1"))
    .addOption(
      new Option("--http-tls [BOOLEAN]", "it has --http-tls")
        .env("MQTTZOO_HTTP_TLS")
        .preset("true")
        .argParser(argument(parseFlag)),
    )
    .addOption(new Option("--probe <WHAT>", "what to ask for").choices(Object.keys(probes)).default("ready"))
    .addOption(
      new Option("--timeout <SECONDS>", "how long to wait for the answer")
        .default(3)
        .argParser(argument(integer(1, 600))),
    )
    .addOption(
      new Option("--after <SECONDS>", "wait so long before asking").default(0).argParser(argument(integer(0, 600))),
    )
    .option("--json", "print one JSON object a line")
    .addHelpText(
      "after",
      `
Examples:
  mqttzoo health --http-port 8080
  MQTTZOO_HTTP_PORT=8080 mqttzoo health --probe live
  mqttzoo health --http-port 8080 --after 3        where there is no sleep: before a pod is told to end`,
    )
    .action(run);
}

async function run({ httpHost, httpPort, httpTls, probe, timeout, after, json }: Flags): Promise<void> {
  if (httpPort === undefined)
    throw new OperatingError("EUSAGE", "name the broker's --http-port, or set MQTTZOO_HTTP_PORT");
  await Bun.sleep(after * 1000);
  const host = hostOnThisMachine(httpHost);
  const checks = await askHealth(host, httpPort, { probe, patienceMs: timeout * 1000, isTls: httpTls === true });
  if (checks === undefined)
    throw new OperatingError("EFAILED", `no answer from ${host}:${httpPort} within ${timeout} s`);
  printRows(
    checks.map(({ name, ok, why }) => ({ check: name, ok, why })),
    json === true,
  );
  const bad = checks.filter(({ ok }) => !ok);
  if (bad.length > 0) throw new OperatingError("EFAILED", bad.map(({ name, why }) => `${name}: ${why}`).join("; "));
}
