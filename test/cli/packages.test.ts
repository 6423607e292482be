/** The packages as an operator meets them: installed, upgraded, rolled back, removed, purged in a root of their own. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import manifest from "../../package.json" with { type: "json" };
import { CleanRoot } from "../support/clean-root.ts";
import { executable, runExecutable } from "../support/process.ts";
import { type InstalledFile, installedFiles, type Kind } from "../tools/installed-files.ts";
import { type Arch, packDeb, packRpm } from "../tools/pack.ts";

const to = mkdtempSync(join(tmpdir(), "mqttzoo-packages-"));
afterAll(() => rmSync(to, { recursive: true, force: true }));

const arch: Arch = process.arch === "arm64" ? "arm64" : "amd64";
const older = "0.0.9";

/** Packs this version, and an older one: its executable is a few words, and its example configuration another. */
function packTwo(kind: Kind): { readonly present: string; readonly before: string } {
  const files = installedFiles(kind, executable, executable);
  const script = Buffer.from(`#!/bin/sh\necho ${older}\n`);
  const asBefore = files.map((file): InstalledFile => {
    if (file.isConfig) return { ...file, bytes: Buffer.concat([Buffer.from("# of old\n"), file.bytes]) };
    return file.place === "/usr/bin/mqttzoo" ? { ...file, bytes: script } : file;
  });
  const pack = kind === "deb" ? packDeb : packRpm;
  return {
    present: pack({ version: manifest.version, arch, files, to }),
    before: pack({ version: older, arch, files: asBefore, to }),
  };
}

const store = "/var/lib/mqttzoo/tree.db";
const config = "/etc/mqttzoo/mqttzoo.yaml";

/** Makes what an operator has, and no upgrade may touch. */
function use(root: CleanRoot): void {
  root.write(store, "what was stored");
  root.write(config, "data: /var/lib/mqttzoo\nport: 1884\n");
  root.write("/etc/mqttzoo/users", "alice:hash\n");
}

function expectUntouched(root: CleanRoot): void {
  expect(root.read(store)).toBe("what was stored");
  expect(root.read(config)).toContain("port: 1884");
  expect(root.read("/etc/mqttzoo/users")).toBe("alice:hash\n");
}

function expectSetUp(root: CleanRoot): void {
  expect(root.read("/etc/passwd")).toMatch(
    /^mqttzoo:x:\d+:\d+:MQTTZoo, an MQTT broker:\/var\/lib\/mqttzoo:\S*nologin$/m,
  );
  expect(root.rightsOf("/var/lib/mqttzoo")).toBe("mqttzoo:mqttzoo 700");
  expect(root.rightsOf("/etc/mqttzoo")).toBe("root:mqttzoo 750");
  expect(root.rightsOf("/etc/mqttzoo/users")).toBe("root:mqttzoo 640");
  expect(root.rightsOf("/usr/bin/mqttzoo")).toBe("root:root 755");
}

const places = [
  "/usr/lib/systemd/system/mqttzoo.service",
  "/usr/share/man/man1/mqttzoo-broker.1.gz",
  "/usr/share/bash-completion/completions/mqttzoo",
  "/usr/share/fish/vendor_completions.d/mqttzoo.fish",
  "/usr/share/doc/mqttzoo/sbom.cdx.json",
  "/usr/share/doc/mqttzoo/THIRD-PARTY-NOTICES.txt",
];

test("the Debian package: installed, upgraded, rolled back, removed, purged", () => {
  const { present, before } = packTwo("deb");
  const root = new CleanRoot();
  root.dpkg("--install", before);
  expectSetUp(root);
  expect(root.run("/usr/bin/mqttzoo").trim()).toBe(older);
  expect(root.asked()).toEqual([
    "deb-systemd-helper unmask mqttzoo.service",
    "deb-systemd-helper --quiet was-enabled mqttzoo.service",
    "deb-systemd-helper enable mqttzoo.service",
    "systemctl --system daemon-reload",
    "deb-systemd-invoke start mqttzoo.service",
  ]);
  use(root);
  root.dpkg("--install", present);
  expect(root.run("/usr/bin/mqttzoo", "--version").trim()).toBe(manifest.version);
  expect(root.asked().at(-1)).toBe("deb-systemd-invoke try-restart mqttzoo.service");
  for (const place of [...places, "/usr/share/zsh/vendor-completions/_mqttzoo", "/usr/share/doc/mqttzoo/copyright"])
    expect([place, root.has(place)]).toEqual([place, true]);
  expectUntouched(root);
  expect(root.read(`${config}.dpkg-dist`)).not.toContain("of old");
  expect(root.dpkg("--verify", "mqttzoo")).toBe(`??5?????? c ${config}\n`);
  // Back, and forth again.
  root.dpkg("--install", before);
  expect(root.run("/usr/bin/mqttzoo").trim()).toBe(older);
  root.dpkg("--install", present);
  expectUntouched(root);
  root.asked();
  root.dpkg("--remove", "mqttzoo");
  expect(root.asked()).toEqual([
    "deb-systemd-invoke stop mqttzoo.service",
    "systemctl --system daemon-reload",
    "deb-systemd-helper mask mqttzoo.service",
  ]);
  expectUntouched(root);
  for (const place of ["/usr/bin/mqttzoo", ...places]) expect([place, root.has(place)]).toEqual([place, false]);
  root.dpkg("--purge", "mqttzoo");
  for (const place of ["/var/lib/mqttzoo", "/etc/mqttzoo"]) expect([place, root.has(place)]).toEqual([place, false]);
  expect(root.read("/etc/passwd")).toContain("mqttzoo:");
  root.remove();
}, 600_000);

test("the RPM package: installed, upgraded, rolled back, erased; the store stays", () => {
  const { present, before } = packTwo("rpm");
  const root = new CleanRoot();
  root.rpm("--install", before);
  expectSetUp(root);
  expect(root.asked()).toEqual(["systemctl daemon-reload", "systemctl preset mqttzoo.service"]);
  use(root);
  root.rpm("--upgrade", present);
  expect(root.run("/usr/bin/mqttzoo", "--version").trim()).toBe(manifest.version);
  expect(root.asked().at(-1)).toBe("systemctl try-restart mqttzoo.service");
  for (const place of [...places, "/usr/share/zsh/site-functions/_mqttzoo", "/usr/share/doc/mqttzoo/LICENSE"])
    expect([place, root.has(place)]).toEqual([place, true]);
  expectUntouched(root);
  expect(root.read(`${config}.rpmnew`)).not.toContain("of old");
  root.rpm("--upgrade", "--oldpackage", before);
  expect(root.run("/usr/bin/mqttzoo").trim()).toBe(older);
  expectUntouched(root);
  root.asked();
  root.rpm("--erase", "mqttzoo");
  expect(root.asked()).toEqual(["systemctl disable --now mqttzoo.service", "systemctl daemon-reload"]);
  expect(root.read(store)).toBe("what was stored");
  // The operator's own configuration is put aside.
  expect(root.read(`${config}.rpmsave`)).toContain("port: 1884");
  for (const place of ["/usr/bin/mqttzoo", ...places]) expect([place, root.has(place)]).toEqual([place, false]);
  root.remove();
}, 600_000);

test("the example configuration is one that a broker takes, also each line that is commented out", async () => {
  const path = join(import.meta.dir, "../../k8s/packages/mqttzoo.yaml");
  const text = await Bun.file(path).text();
  const { code, out } = await runExecutable(["broker", "--config", path, "--print-config"]);
  expect(code).toBe(0);
  expect(out.split("\n").filter((line) => line.endsWith("# file"))).toEqual([
    expect.stringMatching(/^data: "\/var\/lib\/mqttzoo" +# file$/),
  ]);
  const others = [...text.matchAll(/^#([a-z-]+): (.*)$/gm)];
  expect(others.length).toBeGreaterThan(12);
  for (const [line, name, value] of others) {
    const alone = join(to, "one.yaml");
    await Bun.write(alone, `${line.slice(1)}\n`);
    const told = await runExecutable(["broker", "--config", alone, "--print-config"]);
    expect([line, told.code, told.err]).toEqual([line, 0, ""]);
    expect(told.out).toMatch(new RegExp(`^${name}: "?${value}"? +# file$`, "m"));
  }
});
