// Plays the scenarios in a headless Chromium, which playwright-core drives: prints what they came to as JSON.
// Arguments: the browser's path, the page's URL, what the scenarios need as JSON.
import { chromium } from "playwright-core";

const [executablePath, page, given] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
try {
  const tab = await browser.newPage();
  tab.on("pageerror", (error) => console.error(error));
  await tab.goto(page);
  const results = await tab.evaluate(async (stage) => {
    const [lib, { allScenarios, play }] = await Promise.all([import("/main.js"), import("/scenarios.mjs")]);
    return play(allScenarios, { ...stage, lib, connect: lib.connect });
  }, JSON.parse(given));
  console.log(JSON.stringify(results));
} finally {
  await browser.close();
}
