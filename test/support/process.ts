/** The compiled executable as a process of its own. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { brokerArguments, freePort, untilListening } from "../bench/brokers.ts";

export const executable = join(import.meta.dir, "../../dist/mqttzoo");
if (!existsSync(executable))
  throw new Error("dist/mqttzoo is missing: run `bun run build` first, or `bun run test`, which does");

export interface BrokerProcess {
  readonly port: number;
  /** Resolves with the exit code. */
  kill(signal: NodeJS.Signals): Promise<number>;
}

export async function startBrokerProcess(data: string, options: { port?: number } = {}): Promise<BrokerProcess> {
  const port = options.port ?? (await freePort());
  const command = [executable, ...brokerArguments(port, data), "--id", "test"];
  const child = Bun.spawn(command, { stdout: "ignore", stderr: "ignore" });
  await untilListening(port);
  return {
    port,
    async kill(signal) {
      child.kill(signal);
      return child.exited;
    },
  };
}
