/** Has the build put the finished dashboard in the place of the module that bundles it. */
import type { BunPlugin } from "bun";
import { type DashboardBundle, type DashboardFile, readDashboard } from "../../src/server/dashboard-bundle.ts";

/** Returns the source of a file: its bytes as base64, which is read when it is first asked for. */
function sourceOf({ type, gzip, brotli }: DashboardFile): string {
  const bytes = (of: Uint8Array): string =>
    `new Uint8Array(Buffer.from("${Buffer.from(of).toString("base64")}", "base64"))`;
  return `{ type: ${JSON.stringify(type)}, gzip: ${bytes(gzip)}, brotli: ${bytes(brotli)} }`;
}

/** Bundles the dashboard first: Bun cannot build while it builds. Rejects if it cannot be bundled. */
export async function dashboardPlugin(): Promise<BunPlugin> {
  const bundle: DashboardBundle = await readDashboard();
  const source = `{ script: ${sourceOf(bundle.script)}, style: ${sourceOf(bundle.style)} }`;
  return {
    name: "dashboard",
    setup(build) {
      build.onLoad({ filter: /[\\/]src[\\/]server[\\/]dashboard-bundle\.ts$/ }, () => ({
        loader: "js",
        contents: `export async function readDashboard() { return ${source}; }`,
      }));
    },
  };
}
