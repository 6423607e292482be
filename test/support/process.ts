/** The compiled executable as a process of its own. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { freePort, untilListening } from "../bench/brokers.ts";

export const executable = join(import.meta.dir, "../../dist/mqttzoo");
if (!existsSync(executable))
  throw new Error("dist/mqttzoo is missing: run `bun run build` first, or `bun run test`, which does");

export interface BrokerProcess {
  readonly port: number;
  readonly pid: number;
  readonly exited: Promise<number>;
  kill(signal: NodeJS.Signals): Promise<number>;
  readonly stderr: () => string;
}

export async function startBrokerProcess(
  data: string,
  options: { port?: number; flags?: readonly string[] } = {},
): Promise<BrokerProcess> {
  const port = options.port ?? (await freePort());
  const args = [
    "broker",
    "--host",
    "127.0.0.1",
    "--port",
    String(port),
    "--data",
    data,
    "--id",
    "test",
    ...(options.flags ?? []),
  ];
  const child = Bun.spawn([executable, ...args], { stdout: "ignore", stderr: "pipe" });
  let stderr = "";
  void (async () => {
    for await (const chunk of child.stderr) stderr += new TextDecoder().decode(chunk);
  })();
  await untilListening(port);
  return {
    port,
    pid: child.pid,
    exited: child.exited,
    async kill(signal) {
      child.kill(signal);
      return child.exited;
    },
    stderr: () => stderr,
  };
}
