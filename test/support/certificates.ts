/** Certificates for tests, made by openssl: an authority, and whom it vouches for. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Authority {
  readonly folder: string;
  /** Path of its own certificate. */
  readonly ca: string;
  /** Makes a certificate and its key; returns their paths. */
  issue(name: string, options?: { readonly days?: number; readonly commonName?: string }): Pair;
  remove(): void;
}

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export function makeAuthority(folder = mkdtempSync(join(tmpdir(), "mqttzoo-ca-"))): Authority {
  const path = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): void => {
    const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args], { cwd: folder, stderr: "pipe" });
    if (exitCode !== 0) throw new Error(`openssl ${args[0]}: ${stderr.toString()}`);
  };
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl(
    "req",
    "-x509",
    ...newKey,
    "-keyout",
    "ca.key",
    "-out",
    "ca.crt",
    "-days",
    "2",
    "-subj",
    "/CN=Test authority",
  );
  return {
    folder,
    ca: path("ca.crt"),
    issue(name, { days = 2, commonName = name } = {}) {
      const subject = commonName === "" ? "/O=nameless" : `/CN=${commonName}`;
      openssl("req", ...newKey, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", subject);
      writeFileSync(path("extensions"), `subjectAltName=DNS:${name}.test,DNS:localhost,IP:127.0.0.1\n`);
      const signed = [
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        String(days),
        "-extfile",
        "extensions",
      ];
      openssl("x509", "-req", "-in", `${name}.csr`, "-out", `${name}.crt`, ...signed);
      return { cert: path(`${name}.crt`), key: path(`${name}.key`) };
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

export function textOf(path: string): string {
  return readFileSync(path, "utf8");
}
