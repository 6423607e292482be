// Plays the scenarios under Node: prints what they came to as JSON. Arguments: path of the library, what the scenarios need as JSON.
import { allScenarios, play } from "./scenarios.mjs";

const [library, given] = process.argv.slice(2);
const lib = await import(library);
const stage = { ...JSON.parse(given), lib, connect: lib.connect };
console.log(JSON.stringify(await play(allScenarios, stage)));
process.exit(0);
