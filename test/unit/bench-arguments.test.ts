/** The benchmarks refuse in words what is no number, before they measure anything. */
import { expect, test } from "bun:test";
import { join } from "node:path";

async function bench(script: string, ...args: string[]): Promise<{ code: number; out: string; error: string }> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "../bench", script), ...args], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, error] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, out, error };
}

test.each(["churn.ts", "churn-floor.ts", "store.ts", "keeper.ts"])(
  "%s takes whole numbers only",
  async (script) => {
    for (const wrong of ["abc", "0", "-5", "1e3", "NaN", "--fast", ""]) {
      const { code, out, error } = await bench(script, wrong);
      expect({ code, out }).toEqual({ code: 2, out: "" });
      expect(error).toContain(`"${wrong}" was given`);
      expect(error).toContain("usage: bun run bench:");
    }
    const help = await bench(script, "--help");
    expect(help.code).toBe(0);
    expect(help.out).toStartWith("usage: bun run bench:");
  },
  120_000,
);
