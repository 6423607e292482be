/** The brokers that are measured, each started alone on a free port of the loopback interface. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeAuthority } from "../support/certificates.ts";

export interface Running {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
  stop(): Promise<void>;
}

export const brokerNames = ["mqttzoo", "mosquitto", "aedes"] as const;
export type BrokerName = (typeof brokerNames)[number];

/**
 * plain: everybody may do everything. tls: the same, encrypted. guarded: with a password and an access list. stored:
 * mosquitto keeps what it must not forget in a file too, which it writes once a second.
 */
export type How = "plain" | "tls" | "guarded" | "stored";

export const login = { username: "bench", password: "bench" } as const;

/** Writes the files that both brokers read. */
function writeFiles(folder: string): void {
  const salt = randomBytes(12);
  const hash = createHash("sha512").update(login.password).update(salt).digest("base64");
  writeFileSync(join(folder, "users"), `${login.username}:$6$${salt.toString("base64")}$${hash}\n`);
  const others = Array.from({ length: 100 }, (_, at) => `topic readwrite other/${at}/#\n`).join("");
  writeFileSync(join(folder, "acl"), `user ${login.username}\n${others}topic readwrite #\n`);
}

export interface OursOptions {
  readonly flags?: readonly string[];
  /** The path of the executable; that of this tree unless set. */
  readonly executable?: string;
}

export async function start(name: BrokerName, how: How = "plain", ours: OursOptions = {}): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-bench-"));
  const port = await freePort();
  if (how === "tls") makeAuthority({ folder }).issue("server");
  if (how === "guarded") writeFiles(folder);
  const command = commandOf(name, port, { folder, how, ours });
  const child = Bun.spawn(command, { stdout: "ignore", stderr: "inherit", cwd: folder });
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

function commandOf(
  name: BrokerName,
  port: number,
  { folder, how, ours }: { readonly folder: string; readonly how: How; readonly ours: OursOptions },
): string[] {
  if (name === "mqttzoo") {
    const more = {
      plain: [],
      stored: [],
      tls: ["--port", "none", "--tls-port", String(port), "--tls-cert", "server.crt", "--tls-key", "server.key"],
      guarded: ["--password-file", "users", "--acl-file", "acl"],
    }[how];
    return [
      ours.executable ?? join(import.meta.dir, "../../dist/mqttzoo"),
      ...brokerArguments(port, join(folder, "data")),
      "--log-level",
      "error",
      ...more,
      ...(ours.flags ?? []),
    ];
  }
  if (name === "aedes") return [process.execPath, join(import.meta.dir, "aedes.ts"), String(port)];
  // No limits that ours does not have: what is lost is lost for want of speed.
  const config = join(folder, "mosquitto.conf");
  const limits = "max_inflight_messages 1024\nmax_queued_messages 0\nset_tcp_nodelay true\nlog_type none\n";
  const stored = `persistence true\npersistence_location ${folder}/\nautosave_interval 1\n`;
  const more = {
    plain: "allow_anonymous true\n",
    tls: "allow_anonymous true\ncertfile server.crt\nkeyfile server.key\n",
    guarded: "password_file users\nacl_file acl\n",
    stored: `allow_anonymous true\n${stored}`,
  }[how];
  // It would give up root's rights before it reads its files.
  const user = process.getuid?.() === 0 ? "user root\n" : "";
  writeFileSync(config, `${user}listener ${port} 127.0.0.1\n${more}${limits}`);
  return ["mosquitto", "-c", config];
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Rejects after two minutes: a broker that died reads its store twice first, and the machine may be busy. */
export async function untilListening(port: number): Promise<void> {
  const until = performance.now() + 120_000;
  while (performance.now() < until) {
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
