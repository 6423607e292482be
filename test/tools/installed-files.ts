/** The files that a package installs: the executable, and all that is said and set up around it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readMaterials, toCycloneDx, toNotices } from "./bill-of-materials.ts";

const root = join(import.meta.dir, "../..");

export interface InstalledFile {
  readonly place: string;
  readonly bytes: Uint8Array;
  readonly mode: number;
  /** The operator's own from then on: an upgrade leaves it as he wants it. */
  readonly isConfig: boolean;
}

/** Where each kind of package has completions for zsh. */
const zshFolders = { deb: "/usr/share/zsh/vendor-completions", rpm: "/usr/share/zsh/site-functions" } as const;
export type Kind = keyof typeof zshFolders;

/**
 * Returns all files. `executable`: the one to install; `speaker`: one that runs on this machine, and writes its own
 * manual pages and completions.
 */
export function installedFiles(kind: Kind, executable: string, speaker: string): InstalledFile[] {
  const say = (...words: readonly string[]): string => runToEnd([speaker, ...words]);
  const file = (place: string, text: string | Uint8Array, mode = 0o644): InstalledFile => ({
    place,
    bytes: typeof text === "string" ? Buffer.from(text) : text,
    mode,
    isConfig: place.startsWith("/etc/"),
  });
  const source = (path: string): Uint8Array => readFileSync(join(root, path));
  const documents = "/usr/share/doc/mqttzoo";
  const materials = readMaterials(root);
  const pages = say("__man").trim().split("\n");
  return [
    file("/usr/bin/mqttzoo", readFileSync(executable), 0o755),
    file("/usr/lib/systemd/system/mqttzoo.service", source("k8s/systemd/mqttzoo.service")),
    file("/etc/mqttzoo/mqttzoo.yaml", source("k8s/packages/mqttzoo.yaml")),
    ...pages.map((page) => file(`/usr/share/man/man1/${page}.1.gz`, Bun.gzipSync(Buffer.from(say("__man", page))))),
    file("/usr/share/bash-completion/completions/mqttzoo", say("completion", "bash")),
    file(`${zshFolders[kind]}/_mqttzoo`, say("completion", "zsh")),
    file("/usr/share/fish/vendor_completions.d/mqttzoo.fish", say("completion", "fish")),
    // Debian's name for it.
    file(`${documents}/${kind === "deb" ? "copyright" : "LICENSE"}`, source("LICENSE")),
    file(`${documents}/CHANGELOG.md`, source(".github/CHANGELOG.md")),
    file(`${documents}/sbom.cdx.json`, `${JSON.stringify(toCycloneDx(materials), undefined, 2)}\n`),
    file(`${documents}/THIRD-PARTY-NOTICES.txt`, toNotices(materials)),
  ];
}

/** Runs a program and returns what it prints. Throws if it fails. */
export function runToEnd(command: readonly string[], env: Record<string, string> = {}): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], { env: { ...process.env, ...env } });
  if (exitCode !== 0) throw new Error(`${command.join(" ")} failed: ${stderr.toString().trim()}`);
  return stdout.toString();
}
