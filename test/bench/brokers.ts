/** The brokers that are measured, each started alone on a free port of the loopback interface. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Running {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
  stop(): Promise<void>;
}

export const brokerNames = ["mqttzoo", "mosquitto", "aedes"] as const;
export type BrokerName = (typeof brokerNames)[number];

export async function start(name: BrokerName): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-bench-"));
  const port = await freePort();
  const child = Bun.spawn(commandOf(name, port, folder), { stdout: "ignore", stderr: "inherit", cwd: folder });
  await untilListening(port);
  return {
    name,
    pid: child.pid,
    port,
    async stop() {
      child.kill("SIGKILL");
      await child.exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** How our broker is started on the loopback interface. */
export function brokerArguments(port: number, data: string): string[] {
  return ["broker", "--host", "127.0.0.1", "--port", String(port), "--data", data];
}

function commandOf(name: BrokerName, port: number, folder: string): string[] {
  const root = join(import.meta.dir, "../..");
  if (name === "mqttzoo") {
    return [join(root, "dist/mqttzoo"), ...brokerArguments(port, join(folder, "data")), "--log-level", "error"];
  }
  if (name === "aedes") return [process.execPath, join(import.meta.dir, "aedes.ts"), String(port)];
  // No limits that ours does not have: what is lost is lost for want of speed.
  const config = join(folder, "mosquitto.conf");
  const limits =
    "max_inflight_messages 1024\nmax_queued_messages 0\nset_tcp_nodelay true\npersistence false\nlog_type none\n";
  writeFileSync(config, `listener ${port} 127.0.0.1\nallow_anonymous true\n${limits}`);
  return ["mosquitto", "-c", config];
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export async function untilListening(port: number): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    try {
      const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } });
      socket.end();
      return;
    } catch {
      await Bun.sleep(20);
    }
  }
  throw new Error(`nothing listens on port ${port}`);
}
