/**
 * Messages that are larger than what anything takes at once, at the executable: stored, fetched, and nobody else held
 * up.
 */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brokerArguments, freePort, untilListening } from "../bench/brokers.ts";
import { startBystander } from "../support/bystander.ts";
import { executable } from "../support/process.ts";

const bytes = 64 * 1024 * 1024;
/** Each costs more than a branch has in reserve, and three of them most of the capital. */
const count = 3;
/**
 * The time that a copy of all of it in one turn, or of what goes to the store, would take on a machine that is busy
 * with other tests too.
 */
const heldUpMsMax = 2000;
/** The longest of ninety-nine waits in a hundred, by what the machine takes for other work meanwhile. */
const heldUpP99MsMax = 50;

test("three messages of 64 MB for a session that is away: stored one after the other, fetched whole, and a bystander goes on", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-large-"));
  const port = await freePort();
  const flags = ["--log-level", "error", "--max-packet-size", "256M"];
  const broker = Bun.spawn([executable, ...brokerArguments(port, join(folder, "data")), ...flags], {
    stdout: "ignore",
  });
  const run = async (...words: string[]): Promise<{ code: number; out: string; err: string }> => {
    const child = Bun.spawn([executable, ...words, "-p", String(port)], { stdout: "pipe", stderr: "pipe" });
    const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    return { code: await child.exited, out, err };
  };
  try {
    await untilListening(port);
    const session = ["sub", "-i", "away", "-c", "-q", "1", "-t", "large/#"];
    expect((await run(...session, "-E")).code).toBe(0);
    const bystander = await startBystander(port);
    const blob = join(folder, "blob");
    for (let number = 0; number < count; number++) {
      writeFileSync(blob, new Uint8Array(bytes).fill(0x41 + number));
      expect(await run("pub", "-q", "1", "-t", `large/${number}`, "-f", blob)).toEqual({ code: 0, out: "", err: "" });
    }
    const fetched = await run(...session, "-C", String(count), "-W", "300", "-F", "%t %l");
    expect(fetched).toEqual({
      code: 0,
      out: Array.from({ length: count }, (_, number) => `large/${number} ${bytes}\n`).join(""),
      err: "",
    });
    const { worst, p99, stretch, late } = await bystander.waits();
    expect(worst).toBeLessThan(heldUpMsMax + late);
    expect(p99 / stretch).toBeLessThan(heldUpP99MsMax);
    bystander.stop();
  } finally {
    broker.kill("SIGKILL");
    await broker.exited;
    rmSync(folder, { recursive: true, force: true });
  }
}, 600_000);
