/**
 * `bun run sbom`: writes what the executable is made of, `dist/sbom.cdx.json` (CycloneDX 1.6), and the notices that the
 * licences of its parts ask for, `dist/THIRD-PARTY-NOTICES.txt`. Both go into the image, and belong beside a release.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readMaterials, toCycloneDx, toNotices } from "./bill-of-materials.ts";

const root = join(import.meta.dir, "../..");
const materials = readMaterials(root);
mkdirSync(join(root, "dist"), { recursive: true });
writeFileSync(join(root, "dist/sbom.cdx.json"), `${JSON.stringify(toCycloneDx(materials), null, 2)}\n`);
writeFileSync(join(root, "dist/THIRD-PARTY-NOTICES.txt"), toNotices(materials));
console.log(`dist/sbom.cdx.json, dist/THIRD-PARTY-NOTICES.txt  ${materials.length} packages and bun`);
