/**
 * A broker as a process that can be started again and again. How it ends, and what it says, is judged: it may not end
 * unless it is told to, or say what only a bug of ours would.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { untilListening } from "../bench/brokers.ts";
import { killedAtExit } from "../support/children.ts";

export interface BrokerProcess {
  readonly id: string;
  readonly port: number;
  readonly pid: number;
  /** The executable that it was started from last. */
  readonly program: string;
  /** Starts it; `another`: that executable, from now on. */
  start(another?: string): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Ends it and waits until it has ended. */
  end(signal: NodeJS.Signals): Promise<void>;
  /** Everything that is wrong with how its processes have ended, and what they have said. */
  wrong(): string[];
  /** Whether it has said that it refused a publish. */
  hasRefused(): boolean;
}

export interface BrokerProcessOptions {
  readonly id: string;
  readonly port: number;
  /** The working folder, where its words are kept; with MQTTZOO_CHAOS_LOG they are kept there, at level debug. */
  readonly folder: string;
  readonly program: string;
  readonly arguments_: (executable: string) => readonly string[];
  readonly environment: Record<string, string>;
}

/** Words that a broker says only when our code has failed: a stack, or an invariant that does not hold. */
const wordsOfBugs = /^\s+at .+:\d+:\d+|assertion failed|\b(?:Type|Range|Reference|Syntax)Error\b|Unhandled|panic/m;

export function makeBrokerProcess({ id, port, folder, arguments_, ...how }: BrokerProcessOptions): BrokerProcess {
  const log = process.env.MQTTZOO_CHAOS_LOG;
  const words: string[] = [];
  const badEnds: string[] = [];
  const said = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8") : "");
  let child: Subprocess | undefined;
  let { program } = how;
  /** The signal by which it was told to end, if it was. */
  let told: NodeJS.Signals | undefined;
  return {
    id,
    port,
    get pid() {
      return child!.pid;
    },
    get program() {
      return program;
    },
    async start(another) {
      program = another ?? program;
      const path = join(log ?? folder, `${id}-${words.length}.log`);
      words.push(path);
      const verbosely = log === undefined ? [] : ["--log-level", "debug"];
      const started = Bun.spawn([program, ...arguments_(program), ...verbosely], {
        stdout: "ignore",
        stderr: Bun.file(path),
        cwd: folder,
        env: { ...process.env, ...how.environment },
      });
      child = killedAtExit(started);
      told = undefined;
      void started.exited.then((code) => {
        if (child !== started) return;
        const how = started.signalCode ?? code;
        if (told === undefined) badEnds.push(`broker ${id} has ended by itself: ${how}`);
        else if (told === "SIGTERM" && how !== 0) badEnds.push(`broker ${id} was told to end, and ended with ${how}`);
      });
      await untilListening(port);
    },
    signal(signal) {
      child?.kill(signal);
    },
    async end(signal) {
      told = signal;
      child?.kill(signal);
      await child?.exited;
    },
    wrong() {
      const bugs = words.flatMap((path) => {
        const found = wordsOfBugs.exec(said(path));
        return found === null
          ? []
          : [`broker ${id} says in ${path}: ${found.input.slice(found.index, found.index + 300)}`];
      });
      return [...badEnds, ...bugs];
    },
    hasRefused() {
      return words.some((path) => said(path).includes("publish refused"));
    },
  };
}
