/** `mqttzoo broker`: starts a broker and ends it in order. */
import { Command } from "commander";
import { messageOf, OperatingError } from "../src/base/errors.ts";
import { createLog, type Log } from "../src/base/log.ts";
import { hostOf } from "../src/server/listeners.ts";
import { type Server, startServer } from "../src/server/server.ts";
import { addBrokerOptions, printedOf, resolveOptions, toBrokerOptions } from "./flags/broker-config.ts";
import { yamlOf } from "./flags/config-file.ts";
import { isColoured, paintedLogLine } from "./output/colours.ts";
import { say } from "./output/print.ts";

/** Lines of the stack that are printed of an error of our own. */
const stackLinesMax = 8;

export function brokerCommand(): Command {
  const command = new Command("broker")
    .description("Start a broker: alone on its embedded store, or in a cluster on ZooKeeper.")
    .helpOption("--help", "print this help");
  addBrokerOptions(command)
    .option("--print-config", "print every option with its value and where that came from, and end; --config reads it")
    .addHelpText(
      "after",
      `
A flag beats an environment variable beats the file beats the default.

Examples:
  mqttzoo broker
  mqttzoo broker --host 127.0.0.1 --port 1884 --data /var/lib/mqttzoo
  mqttzoo broker --jwt-key https://id.example.org/jwks --jwt-issuer https://id.example.org --jwt-audience mqtt
  mqttzoo broker --password-file users --client-id-prefix '%u-' --ban-file bans
  mqttzoo broker --max-queued 1000 --mailbox-full refuse --session-expiry-max 86400
  mqttzoo broker --proxy-protocol --proxy-from 10.0.0.0/8 --password-file users
  mqttzoo broker --otlp http://localhost:4318 --otlp-sample 0.1
  mqttzoo broker --zk zk1:2181,zk2:2181,zk3:2181 --id a --advertise a.example.org
  MQTTZOO_LOG_LEVEL=debug mqttzoo broker --config mqttzoo.yaml --print-config`,
    )
    .action(run);
  return command;
}

async function run(flags: Record<string, unknown>): Promise<void> {
  const resolved = resolveOptions(flags, process.env);
  if (flags.printConfig === true) {
    for (const { name, value, source } of resolved) {
      const shown = yamlOf(printedOf(value));
      say(`${`${name}: ${shown}`.padEnd(44)} # ${source}`);
    }
    return;
  }
  const options = toBrokerOptions(resolved);
  const { logLevel: level, logFormat: format } = options;
  const write = (line: string): void => void process.stderr.write(paintedLogLine(line));
  const log = createLog({ level, format, ...(format === "text" && isColoured(2) ? { write } : {}) });
  endLoudly(log);
  let started: Server | undefined;
  let stopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info({ signal }, "shutting down");
    // Before the doors are open nobody has been promised anything.
    await started?.stop();
    log.info("broker has ended");
    process.exit(0);
  };
  // From the beginning on: a signal that nobody handles would end the process, also between the moment when clients
  // can come and the one when it says that it is ready.
  process.on("SIGTERM", () => void stop("SIGTERM"));
  process.on("SIGINT", () => void stop("SIGINT"));
  process.on("SIGHUP", () => void started?.reload());
  // To look closer for a while, without a restart.
  process.on("SIGUSR2", () => {
    log.level = log.level === "debug" ? options.logLevel : "debug";
    log.warn(`the log level is ${log.level} now`);
  });
  const sources = Object.fromEntries(resolved.map(({ name, source }) => [name, source]));
  const server = await startServer(options, log, sources);
  started = server;
  const host = hostOf(options);
  const address = ["0.0.0.0", "::", "127.0.0.1"].includes(host) ? "localhost" : host;
  const store = options.zk === "" ? { data: options.data } : { zk: options.zk };
  log.info({ host, ...openPorts(server), ...store, id: options.id }, "broker is ready");
  const command = commandToType();
  if (command !== undefined && server.port !== -1) welcome(command, address, server.port);
}

/** An error of our own ends the broker with one line: what it had not acknowledged its clients send again. */
function endLoudly(log: Log): void {
  const end = (error: unknown): void => {
    if (error instanceof OperatingError) log.fatal(error.message);
    else log.fatal({ stack: stackOf(error) }, `a fault of the broker's own ends it: ${messageOf(error)}`);
    process.exit(1);
  };
  process.on("uncaughtException", end);
  process.on("unhandledRejection", end);
}

function stackOf(error: unknown): string {
  const lines = error instanceof Error ? (error.stack ?? "").split("\n") : [];
  return lines
    .map((line) => line.trim())
    .filter((line) => line.startsWith("at "))
    .slice(0, stackLinesMax)
    .join(", ");
}

/** The ports that are open, by the names of their options. */
function openPorts({ ports, sn }: Server): Record<string, number> {
  const { tcp, tls, ws, wss } = ports;
  const all = { port: tcp, tlsPort: tls, wsPort: ws, wssPort: wss, snPort: sn?.port ?? -1 };
  return Object.fromEntries(Object.entries(all).filter(([, port]) => port !== -1));
}

/** How whoever started this broker calls the other commands; undefined for services, which want no greeting. */
function commandToType(): string | undefined {
  if (process.env.MQTTZOO_FROM_SOURCE === undefined) return process.stdout.isTTY ? "mqttzoo" : undefined;
  // npm leaves its name in the environment when it is npx that runs us.
  return process.env.npm_config_user_agent?.startsWith("npm/") ? "npx -y bun@1.4.5 mqttzoo" : "bun mqttzoo";
}

/** Greets whoever has started it; that nobody reads it, or that the disk is full, is nothing to a broker. */
function welcome(command: string, host: string, port: number): void {
  const where = `${host === "localhost" ? "" : ` -h ${host}`}${port === 1883 ? "" : ` -p ${port}`}`;
  console.log(`
MQTTZoo is ready: any MQTT client can connect to ${host}:${port}. Ctrl-C ends it.

In a second terminal, subscribe:      ${command} sub${where} -t 'home/#' -v
In a third one, publish:              ${command} pub${where} -t home/hello -m 'it works'
`);
}
