/**
 * The bill of materials of the executable: the packages that `package.json` depends on, and theirs, in the versions of
 * `bun.lock`, and Bun, which is part of it. As CycloneDX (ECMA-424), and as the notices that their licences ask for.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };

/** A package of the executable. */
export interface Material {
  readonly name: string;
  readonly version: string;
  /** The licence, as SPDX names it. */
  readonly licence: string;
  /** The texts of its licence and notices. */
  readonly texts: readonly string[];
  /** The SHA-512 of what the registry has delivered, in hexadecimal. */
  readonly sha512: string;
  /** The key in the lock file, and those of the packages that it depends on. */
  readonly key: string;
  readonly needs: readonly string[];
}

type Entry = readonly [
  id: string,
  registry: string,
  facts: { dependencies?: Record<string, string> },
  integrity: string,
];

/** Reads what goes into the executable. Throws if something is not installed, or not as the lock file has it. */
export function readMaterials(root: string): Material[] {
  // JSON with trailing commas.
  const text = readFileSync(join(root, "bun.lock"), "utf8").replace(/,(?=\s*[}\]])/g, "");
  const { packages } = JSON.parse(text) as { packages: Record<string, Entry> };
  const found = new Map<string, Material>();
  const add = (name: string, from: string): void => {
    const key = keyOf(name, from, packages);
    if (found.has(key)) return;
    const [id, , { dependencies = {} }, integrity] = packages[key]!;
    const folder = join(root, "node_modules", from !== "" && key === `${from}/${name}` ? nested(from, name) : key);
    const version = id.slice(name.length + 1);
    const own = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string; license?: string };
    if (own.version !== version) throw new Error(`${name} is installed as ${own.version}, and locked as ${version}`);
    const names = Object.keys(dependencies).sort();
    const needs = names.map((need) => keyOf(need, key, packages));
    const sha512 = Buffer.from(integrity.replace("sha512-", ""), "base64").toString("hex");
    found.set(key, {
      name,
      version,
      licence: own.license ?? "NOASSERTION",
      texts: textsIn(folder),
      sha512,
      key,
      needs,
    });
    for (const need of names) add(need, key);
  };
  for (const name of Object.keys(manifest.dependencies)) add(name, "");
  return [...found.values()].sort((a, b) => (`${a.name}@${a.version}` < `${b.name}@${b.version}` ? -1 : 1));
}

/** The package that a name means to another one: its own version of it, or the one that all share. */
function keyOf(name: string, from: string, packages: Record<string, Entry>): string {
  for (let at = from; at !== ""; at = at.includes("/") ? at.slice(0, at.lastIndexOf("/")) : "")
    if (packages[`${at}/${name}`] !== undefined) return `${at}/${name}`;
  if (packages[name] === undefined) throw new Error(`bun.lock has no ${name}`);
  return name;
}

/** Where a package's own version of another one lies. */
function nested(from: string, name: string): string {
  return `${from}/node_modules/${name}`;
}

function textsIn(folder: string): string[] {
  const names = readdirSync(folder).filter((name) => /^(licen[cs]e|notice|copying)/i.test(name));
  return names.sort().map((name) => readFileSync(join(folder, name), "utf8").trim());
}

const bunVersion = manifest.packageManager.replace("bun@", "");

/** Returns the bill as CycloneDX has it: the same for the same lock file. */
export function toCycloneDx(materials: readonly Material[]): object {
  const refOf = ({ name, version }: Pick<Material, "name" | "version">): string =>
    `pkg:npm/${name.replace("@", "%40")}@${version}`;
  const byKey = new Map(materials.map((material) => [material.key, refOf(material)]));
  const self = `pkg:npm/${manifest.name}@${manifest.version}`;
  const bun = `pkg:github/oven-sh/bun@bun-v${bunVersion}`;
  const refsOf = (keys: readonly string[]): string[] => keys.map((key) => byKey.get(key)!);
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: {
        type: "application",
        "bom-ref": self,
        name: manifest.name,
        version: manifest.version,
        licenses: [{ license: { id: manifest.license } }],
        purl: self,
      },
    },
    components: [
      {
        type: "platform",
        "bom-ref": bun,
        name: "bun",
        version: bunVersion,
        licenses: [{ license: { id: "MIT" } }],
        purl: bun,
      },
      ...materials.map((material) => ({
        type: "library",
        "bom-ref": refOf(material),
        name: material.name,
        version: material.version,
        hashes: [{ alg: "SHA-512", content: material.sha512 }],
        licenses: [{ expression: material.licence }],
        purl: refOf(material),
      })),
    ],
    dependencies: [
      { ref: self, dependsOn: [bun, ...refsOf(Object.keys(manifest.dependencies))] },
      { ref: bun, dependsOn: [] },
      ...materials.map((material) => ({ ref: refOf(material), dependsOn: refsOf(material.needs) })),
    ],
  };
}

/** Returns what the licences of all parts ask to be shown. */
export function toNotices(materials: readonly Material[]): string {
  const head = `${manifest.name} ${manifest.version} is made of these parts, each under its own licence.

bun ${bunVersion} (MIT; it holds JavaScriptCore, LGPL-2.1, and others): https://bun.sh/docs/project/license
`;
  const parts = materials.map(
    ({ name, version, licence, texts }) =>
      `${"=".repeat(80)}\n${name} ${version} (${licence})\n\n${texts.join("\n\n") || "(the package holds no text of its licence)"}\n`,
  );
  return [head, ...parts].join("\n");
}
