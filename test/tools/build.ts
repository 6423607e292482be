/**
 * Builds `dist/mqttzoo`: one executable for this machine, or for the targets named: `bun run build linux-x64
 * linux-arm64` makes `dist/mqttzoo-linux-x64` and so on.
 */
import { statSync } from "node:fs";
import { dashboardPlugin } from "./dashboard-plugin.ts";

const targets = ["linux-x64", "linux-arm64"];
const wanted = process.argv.slice(2);

for (const target of wanted) {
  if (targets.includes(target)) continue;
  console.error(`no target ${target}; there are ${targets.join(", ")}`);
  process.exit(2);
}

for (const target of wanted.length > 0 ? wanted : [undefined]) {
  const outfile = target === undefined ? "dist/mqttzoo" : `dist/mqttzoo-${target}`;
  const result = await Bun.build({
    // The store's worker is an entry point of its own: the executable carries both.
    entrypoints: ["cli/main.ts", "src/embedded/worker.ts"],
    minify: true,
    bytecode: true,
    format: "esm",
    throw: false,
    plugins: [await dashboardPlugin()],
    compile: { outfile, ...(target === undefined ? {} : { target: `bun-${target}` as Bun.Build.CompileTarget }) },
  });
  for (const log of result.logs) console.error(String(log));
  if (!result.success) process.exit(1);
  console.log(`${outfile}  ${(statSync(outfile).size / 1e6).toFixed(0)} MB`);
}
