/**
 * The packages in the lock file are audited: `bun audit` asks the registry what it knows to be wrong with them, where
 * one answers. Mirrors often do not take that question, and a machine may have no network.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";

const root = join(import.meta.dir, "../..");
/** How long a registry may take, in ms. */
const patienceMs = 30_000;

/** Returns the advisories by package, as `bun audit` says them; undefined: no registry has answered. */
async function advisories(registry?: string): Promise<Record<string, unknown> | undefined> {
  const child = Bun.spawn([process.execPath, "audit", "--json"], {
    cwd: root,
    stdout: "pipe",
    stderr: "ignore",
    timeout: patienceMs,
    env: { ...process.env, ...(registry === undefined ? {} : { NPM_CONFIG_REGISTRY: registry }) },
  });
  const out = await new Response(child.stdout).text();
  await child.exited;
  return out.trim() === "" ? undefined : JSON.parse(out);
}

test("what a registry says of our packages is understood, and so is one that says nothing", async () => {
  const advisory = { id: 1, url: "https://example.org/1", title: "t", severity: "high", vulnerable_versions: "*" };
  const asked: unknown[] = [];
  let answer = (): Response => Response.json({ commander: [advisory] });
  const registry = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      asked.push(Object.keys(JSON.parse(Buffer.from(Bun.gunzipSync(await request.arrayBuffer())).toString("utf8"))));
      return answer();
    },
  });
  const url = `http://127.0.0.1:${registry.port}/`;
  expect(await advisories(url)).toMatchObject({ commander: [{ severity: "high" }] });
  expect(asked[0]).toContain("commander");
  answer = () => Response.json({});
  expect(await advisories(url)).toEqual({});
  answer = () => new Response("not taken here", { status: 405 });
  expect(await advisories(url)).toBeUndefined();
  await registry.stop(true);
}, 120_000);

test("no package in the lock file has an advisory, as far as a registry says", async () => {
  const found = await advisories();
  if (found === undefined) console.log("no registry has answered: the lock file was not audited");
  expect(found ?? {}).toEqual({});
}, 60_000);
