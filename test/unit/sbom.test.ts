/** The bill of materials says what is in the executable, all of it and nothing else. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { readMaterials, toCycloneDx, toNotices } from "../tools/bill-of-materials.ts";

const root = join(import.meta.dir, "../..");

/** An import at the start of a file, or one that waits until it is needed. */
const imported = /^import (?!type\b).*from "([^".:]+)";$|\bimport\("([^".:]+)"\)/gm;

interface Bom {
  readonly components: readonly { readonly name: string; readonly version: string; readonly "bom-ref": string }[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

test("each package that the executable is made of is in it, as it is locked, with its licence; none for tests", () => {
  const materials = readMaterials(root);
  const names = materials.map(({ name }) => name);
  for (const [name, version] of Object.entries(manifest.dependencies))
    expect(materials.find((material) => material.name === name)?.version).toBe(version);
  // Two may need one package in two versions.
  expect(new Set(materials.map(({ name, version }) => `${name}@${version}`)).size).toBe(names.length);
  for (const name of Object.keys(manifest.devDependencies)) expect(names).not.toContain(name);
  for (const { name, licence, sha512, texts } of materials) {
    expect(`${name} ${licence}`).toMatch(/ (MIT|ISC|BSD-[23]-Clause|Apache-2\.0|0BSD)$/);
    expect(sha512).toMatch(/^[0-9a-f]{128}$/);
    // A licence that nobody has put into the package is named, at least.
    expect(texts.every((text) => text.length > 100)).toBe(true);
  }
  const bom = toCycloneDx(materials) as Bom;
  const refs = new Set(bom.components.map((component) => component["bom-ref"]));
  for (const { dependsOn } of bom.dependencies) for (const ref of dependsOn) expect(refs).toContain(ref);
  expect(bom.components.length).toBe(materials.length + 1);
  const notices = toNotices(materials);
  for (const { name, version } of materials) expect(notices).toContain(`${name} ${version} (`);
});

test("whatever the product imports from outside is in the bill", () => {
  const names = new Set(readMaterials(root).map(({ name }) => name));
  const files = ["src", "cli"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => /\.tsx?$/.test(path))
      .map((path) => join(root, folder, path)),
  );
  const outside = files.flatMap((path) =>
    [...readFileSync(path, "utf8").matchAll(imported)].map(([, atStart, later]) => (atStart ?? later)!),
  );
  // `preact/hooks` is a part of `preact`.
  const packageOf = (path: string): string => /^(@[^/]+\/)?[^/]+/.exec(path)![0];
  for (const name of new Set(outside.map(packageOf))) expect(names).toContain(name);
  expect(outside.length).toBeGreaterThan(5);
});
