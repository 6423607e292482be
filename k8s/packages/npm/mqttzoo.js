#!/usr/bin/env node
/** Runs the executable, `npx mqttzoo broker`: it lies in a package of its own for each kind of machine. */
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { constants } from "node:os";

const kinds = ["linux-x64", "linux-arm64"];
const kind = `${process.platform}-${process.arch}`;

function find() {
  try {
    return createRequire(import.meta.url).resolve(`mqttzoo-${kind}/bin/mqttzoo`);
  } catch {
    const why = kinds.includes(kind)
      ? `the package mqttzoo-${kind} is missing: npm leaves it out with --omit=optional`
      : `there is no executable for ${kind}, only for ${kinds.join(" and ")} (glibc)`;
    console.error(`mqttzoo: ${why}`);
    process.exit(1);
  }
}

const child = spawn(find(), process.argv.slice(2), { stdio: "inherit" });
// Ctrl-C reaches both of us from the terminal; a second one would end the broker before it has drained.
process.on("SIGINT", () => {
  if (!process.stdin.isTTY) child.kill("SIGINT");
});
for (const signal of ["SIGTERM", "SIGHUP", "SIGUSR2"]) process.on(signal, () => child.kill(signal));
child.on("error", ({ message }) => {
  console.error(`mqttzoo: cannot be started: ${message}`);
  process.exit(1);
});
child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
