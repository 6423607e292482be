/** A broker in this process, on a free port and a folder of its own. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLog } from "../../src/base/log.ts";
import { type BrokerOptions, defaultOptions } from "../../src/broker/core/options.ts";
import { type Server, startServer } from "../../src/server/server.ts";
import { removeFolder } from "./folder.ts";

export interface TestBroker {
  readonly port: number;
  readonly server: Server;
  readonly folder: string;
  stop(): Promise<void>;
  /** Ends in order and starts again on the same store, with other options where some are given. */
  restart(others?: Partial<BrokerOptions>): Promise<TestBroker>;
}

export async function startBroker(options: Partial<BrokerOptions> = {}): Promise<TestBroker> {
  const folder = options.data ?? mkdtempSync(join(tmpdir(), "mqttzoo-test-"));
  // The process is the tests' own: what it has says nothing of the broker.
  const own = { host: "127.0.0.1", port: 0, id: "test", maxMemory: "none" } as const;
  const all = { ...defaultOptions, ...own, ...options, data: folder };
  const server = await startServer(all, silentLog);
  return {
    port: server.port,
    server,
    folder,
    async stop() {
      await server.stop();
      removeFolder(folder);
    },
    async restart(others = {}) {
      await server.stop();
      return startBroker({ ...options, ...others, data: folder });
    },
  };
}

/** Starts a broker, and stops it when it has been used. */
export async function withBroker(
  options: Partial<BrokerOptions>,
  use: (broker: TestBroker) => Promise<void>,
): Promise<void> {
  const broker = await startBroker(options);
  try {
    await use(broker);
  } finally {
    await broker.stop();
  }
}

/**
 * Polls until a condition holds; fails after `ms`. Waiting costs nothing where the condition holds: the time is what a
 * machine may take that does much else, several times what is ever needed on one that does not.
 */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: string,
  ms = 30_000,
): Promise<void> {
  const giveUpAt = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`waited in vain: ${what}`);
    await Bun.sleep(5);
  }
}
