/** The compiled executable as a process of its own. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { brokerArguments, freePort, untilListening } from "../bench/brokers.ts";
import { killedAtExit } from "./children.ts";

export const executable = join(import.meta.dir, "../../dist/mqttzoo");
if (!existsSync(executable))
  throw new Error("dist/mqttzoo is missing: run `bun run build` first, or `bun run test`, which does");

export interface BrokerProcess {
  readonly port: number;
  readonly pid: number;
  /** Resolves with the exit code. */
  kill(signal: NodeJS.Signals): Promise<number>;
}

/** `within`: a command that runs the broker, such as `prlimit`; `stderr`: the file for what it says. */
export async function startBrokerProcess(
  data: string,
  options: { port?: number; args?: readonly string[]; within?: readonly string[]; stderr?: string } = {},
): Promise<BrokerProcess> {
  const port = options.port ?? (await freePort());
  const broker = [executable, ...brokerArguments(port, data), "--id", "test", ...(options.args ?? [])];
  const stderr = options.stderr === undefined ? "ignore" : Bun.file(options.stderr);
  const child = killedAtExit(Bun.spawn([...(options.within ?? []), ...broker], { stdout: "ignore", stderr }));
  await Promise.race([
    untilListening(port),
    child.exited.then((code) => {
      throw new Error(`the broker has ended with ${code} at its start`);
    }),
  ]).catch((error) => {
    throw new Error(`${(error as Error).message}${lastWords(options.stderr)}`);
  });
  return {
    port,
    pid: child.pid,
    async kill(signal) {
      child.kill(signal);
      return child.exited;
    },
  };
}

/** The end of what a process has said, to be told beside what was waited for in vain. */
function lastWords(stderr: string | undefined): string {
  if (stderr === undefined) return "";
  return `; the last that it said:\n${readFileSync(stderr, "utf8").slice(-2000)}`;
}

/** Runs the executable on a terminal of its own: what is written to its standard input is typed there. */
export function runOnTerminal(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const command = ["script", "-qec", [executable, ...args].join(" "), "/dev/null"];
  // Without TERM, as where the tests run by themselves, a terminal is one that knows nothing.
  const all = { ...process.env, NO_COLOR: "", TERM: "xterm", ...env };
  return killedAtExit(Bun.spawn(command, { stdin: "pipe", stdout: "pipe", stderr: "ignore", env: all }));
}

export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs it to its end; without `input` its standard input is empty. */
export async function runExecutable(
  args: readonly string[],
  { env = {}, input = "" }: { readonly env?: Record<string, string>; readonly input?: string } = {},
): Promise<Ended> {
  const stdin = Buffer.from(input);
  const child = Bun.spawn([executable, ...args], {
    stdin,
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...env },
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, out, err };
}

/** Returns the processor's time that a process has used so far, in ms: a machine that is busy makes it no longer. */
export function cpuMsOf(pid: number): number {
  const [user, system] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ").slice(11, 13);
  return (Number(user) + Number(system)) * 10;
}
