/**
 * A root of its own for packages, as of a machine on which nothing is installed but what their scripts need: a shell
 * and a few programs, with their libraries. systemd is played by scripts that write down what they are asked.
 */
import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { join } from "node:path";
import { RootFs } from "../tools/rootfs.ts";

const programs = ["sh", "rm", "mkdir", "chown", "chmod", "getent", "useradd", "nologin", "cat"];

/** Programs that only root may run; elsewhere sudo asks nobody for a password. */
const asRoot = process.getuid?.() === 0 ? [] : ["sudo", "-n"];

/** Has dpkg keep an operator's own configuration without asking, as unattended upgrades do. */
const keepOwn = ["--force-confdef", "--force-confold"];

/** The packages that dpkg believes to be installed: ours depends on them. */
const installed = ["libc6 2.36", "passwd 1:4.13"]
  .map((entry) => {
    const [name, version] = entry.split(" ");
    return `Package: ${name}\nStatus: install ok installed\nVersion: ${version}\nArchitecture: ${debianArch()}\nMaintainer: nobody\nDescription: played\n`;
  })
  .join("\n");

function debianArch(): string {
  return process.arch === "arm64" ? "arm64" : "amd64";
}

export class CleanRoot {
  readonly #files = new RootFs();

  constructor() {
    for (const name of programs) {
      const found = Bun.which(name, { PATH: "/usr/bin:/usr/sbin:/bin:/sbin" });
      if (found === null) throw new Error(`${name} is missing`);
      this.#files.add(realpathSync(found), `/usr/bin/${name}`);
    }
    this.#files.add("/usr/bin/sh", "/bin/sh");
    // rpm asks for it by its path.
    this.#files.add("/usr/sbin/useradd");
    this.#files.addLibraries();
    this.#files.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    this.#files.write("/etc/group", "root:x:0:\n");
    this.#files.write("/etc/shadow", "root:*:19000:0:99999:7:::\n");
    this.#files.write("/etc/login.defs", "SYS_UID_MIN 100\nSYS_UID_MAX 999\nSYS_GID_MIN 100\nSYS_GID_MAX 999\n");
    this.#files.write("/var/lib/dpkg/status", installed);
    for (const folder of ["info", "updates", "triggers"]) this.#files.write(`/var/lib/dpkg/${folder}/.keep`, "");
    this.#files.makeOpen("/tmp", "/run/systemd/system", "/dev");
    this.#files.write("/dev/null", "", 0o666);
    for (const name of ["systemctl", "deb-systemd-invoke", "deb-systemd-helper"])
      this.#files.write(`/usr/bin/${name}`, `#!/bin/sh\necho "${name} $*" >> /asked\n`, 0o755);
  }

  path(place: string): string {
    return join(this.#files.folder, place);
  }

  has(place: string): boolean {
    return existsSync(this.path(place));
  }

  read(place: string): string {
    return readFileSync(this.path(place), "utf8");
  }

  write(place: string, text: string): void {
    this.#files.write(place, text);
  }

  /** Returns owner, group and rights, say `mqttzoo:mqttzoo 700`. */
  rightsOf(place: string): string {
    const { uid, gid, mode } = statSync(this.path(place));
    const nameIn = (file: string, id: number): string =>
      this.read(file)
        .split("\n")
        .map((line) => line.split(":"))
        .find(([, , own]) => own === String(id))?.[0] ?? String(id);
    return `${nameIn("/etc/passwd", uid)}:${nameIn("/etc/group", gid)} ${(mode & 0o7777).toString(8)}`;
  }

  /** Returns what systemd was asked since the last call. */
  asked(): string[] {
    const lines = this.has("/asked") ? this.read("/asked").trim().split("\n") : [];
    this.write("/asked", "");
    return lines.filter((line) => line !== "");
  }

  /** Runs dpkg on this root. Throws what it says if it fails. */
  dpkg(...words: readonly string[]): string {
    return this.#run("dpkg", `--root=${this.#files.folder}`, "--force-not-root", "--no-triggers", ...keepOwn, ...words);
  }

  /** Runs rpm on this root; what it depends on is on no rpm system's list here. Throws what it says if it fails. */
  rpm(...words: readonly string[]): string {
    return this.#run("rpm", "--root", this.#files.folder, "--nodeps", "--force-debian", ...words);
  }

  /** Runs a program that lies in this root, from outside: it has no devices. Throws what it says if it fails. */
  run(place: string, ...words: readonly string[]): string {
    return this.#run(this.path(place), ...words);
  }

  remove(): void {
    Bun.spawnSync([...asRoot, "rm", "-rf", this.#files.folder]);
  }

  #run(...command: readonly string[]): string {
    const env = { ...process.env, PATH: "/usr/bin:/usr/sbin:/bin:/sbin", LC_ALL: "C" };
    const { exitCode, stdout, stderr } = Bun.spawnSync([...asRoot, ...command], { env });
    if (exitCode !== 0) throw new Error(`${command.slice(0, 6).join(" ")} failed: ${stdout}${stderr}`);
    return stdout.toString();
  }
}
