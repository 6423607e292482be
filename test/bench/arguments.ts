/** The arguments of a benchmark: whole numbers, each with a value that stands where none is given. */

/** Ends the process, in words, if an argument is anything else: a benchmark would measure nothing, and say NaN. */
export function readCounts<const Defaults extends readonly number[]>(
  usage: string,
  defaults: Defaults,
): { -readonly [At in keyof Defaults]: number } {
  const args = process.argv.slice(2);
  if (args.includes("--help") || args.includes("-h")) {
    console.log(usage);
    process.exit(0);
  }
  if (args.length > defaults.length || args.some((text) => !/^[1-9]\d{0,8}$/.test(text))) {
    console.error(`whole numbers are taken, and "${args.join(" ")}" was given\n${usage}`);
    process.exit(2);
  }
  return defaults.map((value, at) => Number(args[at] ?? value)) as { -readonly [At in keyof Defaults]: number };
}
