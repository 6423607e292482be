/** `mqttzoo top`: a live view of a broker: how much comes and goes, on which topics, of which clients. */
import { isatty } from "node:tty";
import { Command, Option } from "commander";
import { addConnectionOptions, type ConnectionFlags, filterOf, readConnection } from "./flags/client-flags.ts";
import { argument, collect, integer, parseUrl, usage } from "./flags/parsers.ts";
import { say, sayJson } from "./output/print.ts";
import { print } from "./output/standard-output.ts";
import { Subscriber } from "./pubsub/subscriber.ts";
import { ApiSource } from "./top/api-source.ts";
import { type Look, toJson, toLine, toPage } from "./top/look.ts";
import { MqttSource } from "./top/mqtt-source.ts";

interface TopFlags extends ConnectionFlags {
  readonly api?: string;
  readonly tokenFile?: string;
  readonly data?: string;
  readonly topic?: readonly string[];
  /** False: `--no-topics`. */
  readonly topics: boolean;
  readonly interval: number;
  readonly top: number;
  readonly once?: boolean;
  readonly json?: boolean;
}

/** q, Ctrl-C and Ctrl-D, which end it on a terminal that hands over every key. */
const endingKeys = [0x71, 0x03, 0x04];
const intervalDefault = 2;
/** The size of a page that is not drawn on a terminal. */
const plainSize = { columns: 200, rows: 1000 };
const pastMax = 200;

export function topCommand(): Command {
  return addConnectionOptions(new Command("top").description("Watch a broker: rates, topics, clients."))
    .option("-t, --topic <FILTER>", "count what is published here; may be given several times (default: #)", collect)
    .option("--no-topics", "subscribe to $SYS alone: no message of others comes here")
    .addOption(
      new Option("--api <URL>", "ask a broker's --http-port instead: clients, too").argParser(argument(parseUrl)),
    )
    .option("--token-file <FILE>", "... file with a token for it")
    .option("--data <DIR>", "ask a broker that runs alone on this folder instead: clients, too")
    .addOption(
      new Option("--interval <SECONDS>", "how often").default(intervalDefault).argParser(argument(integer(1, 3600))),
    )
    .addOption(new Option("--top <N>", "so many topics or clients").default(20).argParser(argument(integer(1, 1000))))
    .option("--once", "look once, for one interval, and end")
    .option("--json", "print one JSON object for each interval")
    .addHelpText(
      "after",
      `
On a terminal the view is drawn anew; q or Ctrl-C ends it. Elsewhere a line is printed for each interval.
Any broker that tells of itself below $SYS can be looked at; some do so each 10 seconds or more, and some only to users
whom they let. Topics are counted as their messages come here: on a busy broker that is work for it, see --no-topics.
This kind of brokers tells more over its API: all brokers of a cluster together, and the busiest clients.

Examples:
  mqttzoo top
  mqttzoo top -h test.mosquitto.org -t 'home/#' --interval 10
  mqttzoo top --api http://olga:PASSWORD@broker.example.org:8080
  mqttzoo top --data /var/lib/mqttzoo
  mqttzoo top --once                                one page, for a mail or a ticket
  mqttzoo top --json --no-topics | jq .receivedPerSecond`,
    )
    .action(run);
}

async function run(flags: TopFlags): Promise<void> {
  const { api, data } = flags;
  const screen = new Screen(flags);
  if (api !== undefined || data !== undefined) return watchApi(flags, screen);
  if (flags.tokenFile !== undefined) usage("--token-file belongs to --api");
  const connection = readConnection(flags);
  const filters = flags.topics ? (flags.topic ?? [connection.topic ?? "#"]) : [];
  for (const filter of filters) filterOf(filter);
  if (!flags.topics && flags.topic !== undefined) usage("-t does not go with --no-topics");
  const [place] = await connection.places();
  const where = place!.socket ?? `${place!.host}:${place!.port}`;
  const source = new MqttSource(where, { topics: flags.topics ? flags.top : undefined });
  const subscriber = new Subscriber(
    { ...flags, qos: 0, retainAsPublished: false },
    connection,
    ["$SYS/#", ...filters],
    source,
  );
  let isOver = false;
  const ended = subscriber.run().finally(() => {
    isOver = true;
    screen.wake();
  });
  // Where there is no broker it is told at once, and nothing is drawn.
  await Promise.race([subscriber.subscribed, ended]);
  screen.open(() => subscriber.stop());
  while (!isOver) {
    await screen.pause();
    if (isOver) break;
    screen.show(source.look());
    if (flags.once === true) subscriber.stop();
  }
  screen.close();
  process.exit(await ended);
}

async function watchApi(flags: TopFlags, screen: Screen): Promise<void> {
  const source = new ApiSource(flags, { clients: flags.top });
  let isOver = false;
  const stop = (): void => {
    isOver = true;
    screen.wake();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, stop);
  // Rates are of two looks.
  await source.look();
  screen.open(stop);
  while (!isOver) {
    await screen.pause();
    if (isOver) break;
    screen.show(await source.look());
    if (flags.once === true) break;
  }
  screen.close();
  process.exit(0);
}

/** The place where looks are shown: a terminal, which is left as it was, or lines. */
class Screen {
  readonly #flags: TopFlags;
  readonly #isDrawn: boolean;
  readonly #past: Look[] = [];
  #isOpen = false;
  #wake: () => void = () => {};

  constructor(flags: TopFlags) {
    this.#flags = flags;
    this.#isDrawn = isatty(1) && flags.json !== true && flags.once !== true;
  }

  /** Takes the terminal; `end` is called when somebody there wants to end. */
  open(end: () => void): void {
    if (!this.#isDrawn) return;
    this.#isOpen = true;
    // Another page, as pagers have it, without a cursor.
    print("\x1b[?1049h\x1b[?25l");
    process.on("exit", () => this.close());
    process.stdout.on("resize", () => this.#draw());
    if (!process.stdin.isTTY) return;
    process.stdin.setRawMode(true);
    process.stdin.on("data", (keys: Buffer) => {
      if (endingKeys.some((key) => keys.includes(key))) end();
    });
  }

  /** Gives the terminal back. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (process.stdin.isTTY) process.stdin.setRawMode(false);
    print("\x1b[?25h\x1b[?1049l");
  }

  /** Resolves after an interval, or when it is woken. */
  pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      void Bun.sleep(this.#flags.interval * 1000).then(resolve);
    });
  }

  wake(): void {
    this.#wake();
  }

  show(look: Look): void {
    const { json, once } = this.#flags;
    if (json === true) return sayJson(toJson(look));
    if (once === true) return print(`${toPage(look, [], plainSize).join("\n")}\n`);
    if (!this.#isDrawn) return say(toLine(look));
    this.#past.push(look);
    if (this.#past.length > pastMax) this.#past.shift();
    this.#draw();
  }

  #draw(): void {
    const look = this.#past.at(-1);
    if (look === undefined || !this.#isOpen) return;
    // A terminal that does not know its size has 0.
    const [columns, rows] = [process.stdout.columns || 80, process.stdout.rows || 24];
    const lines = toPage(look, this.#past.slice(0, -1), { columns, rows: rows - 1 });
    // Each line is cleared behind its text: the whole page would flicker.
    print(`\x1b[H${lines.map((line) => `${line}\x1b[K`).join("\r\n")}\x1b[J`);
  }
}
