/**
 * An error of our own in a socket's callback ends the process: it is not taken for the network's, whatever it looks
 * like.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");

/** Runs a listener and a dialler one of whose callbacks throws; resolves to what the process has ended with. */
async function run(where: "listener" | "dialler", callback: string): Promise<{ code: number; stderr: string }> {
  const script = `
    import { dialTcp, listenTcp } from "${root}/src/net/tcp.ts";
    const boom = () => { throw Object.assign(new Error("boom"), { code: "ECONNRESET" }); };
    const calm = { opened: (transport) => transport, received() {}, drained() {}, closed() {} };
    const near = { ...calm, opened: (transport) => (transport.write(new Uint8Array([1]), 0, 1), transport) };
    const faulty = (events) => ({ ...events, ${callback}: boom });
    const listener = listenTcp("127.0.0.1", 0, ${where === "listener" ? "faulty(near)" : "near"}, { flag: "--port" });
    const events = ${where === "dialler" ? "faulty(near)" : "near"};
    dialTcp("127.0.0.1", listener.port, events).then(async (transport) => {
      // What is to come ends the process at once; only the end of the connection must be brought about.
      await Bun.sleep(${callback === "closed" ? 100 : 10_000});
      transport.abort();
      await Bun.sleep(10_000);
      process.exit(0);
    }, () => {});
    setTimeout(() => process.exit(0), 30_000);`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "ignore", stderr: "pipe" });
  const stderr = await new Response(child.stderr).text();
  return { code: await child.exited, stderr };
}

for (const where of ["listener", "dialler"] as const) {
  for (const callback of ["opened", "received", "closed"]) {
    test(`${callback} of a ${where} throws what looks like the network's error`, async () => {
      const { code, stderr } = await run(where, callback);
      expect(stderr).toContain("boom");
      expect(code).toBe(1);
    }, 20_000);
  }
}
