/** Certificates for tests, made by openssl: an authority, and whom it vouches for. */
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Authority {
  readonly folder: string;
  /** Path of its own certificate. */
  readonly ca: string;
  /** Makes a certificate and its key; returns their paths. */
  issue(name: string, options?: IssueOptions): Pair;
  /** Makes a list of revoked certificates, in PEM; returns it. */
  list(revoked: readonly Pair[], options?: ListOptions): string;
  remove(): void;
}

export interface IssueOptions {
  readonly days?: number;
  readonly commonName?: string;
  /** The serial number, in hexadecimal; a random one unless set. */
  readonly serial?: string;
  /** Lines for openssl's section of extensions. */
  readonly extensions?: string;
}

export interface ListOptions {
  /** When it was made, and when the next one is due; now, and in two days. */
  readonly from?: Date;
  readonly until?: Date;
  /** Lines for openssl's section of the list's extensions. */
  readonly extensions?: string;
  readonly reason?: string;
  readonly hash?: string;
  /** Options of the signature, as openssl's -sigopt takes them. */
  readonly sign?: readonly string[];
}

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

/** How openssl makes the authority's key. */
export interface AuthorityOptions {
  readonly folder?: string;
  readonly key?: readonly string[];
  readonly name?: string;
  /** Options of `openssl req`, for its own certificate. */
  readonly more?: readonly string[];
}

const ellipticKey = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

export function makeAuthority(options: AuthorityOptions = {}): Authority {
  const { folder = mkdtempSync(join(tmpdir(), "mqttzoo-ca-")), key = ellipticKey } = options;
  const { name: authorityName = "Test authority", more = [] } = options;
  const path = (name: string): string => join(folder, name);
  const openssl = (...args: string[]): void => {
    const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args], { cwd: folder, stderr: "pipe" });
    if (exitCode !== 0) throw new Error(`openssl ${args[0]}: ${stderr.toString()}`);
  };
  const newKey = ["-newkey", ...ellipticKey, "-nodes"];
  openssl(
    "req",
    "-x509",
    "-newkey",
    ...key,
    "-nodes",
    "-keyout",
    "ca.key",
    "-out",
    "ca.crt",
    "-days",
    "2",
    "-subj",
    `/CN=${authorityName}`,
    ...more,
  );
  return {
    folder,
    ca: path("ca.crt"),
    issue(name, { days = 2, commonName = name, serial = "", extensions = "" } = {}) {
      const subject = commonName === "" ? "/O=nameless" : `/CN=${commonName}`;
      openssl("req", ...newKey, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", subject);
      writeFileSync(path("extensions"), `subjectAltName=DNS:${name}.test,DNS:localhost,IP:127.0.0.1\n${extensions}\n`);
      const signed = [
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        ...(serial === "" ? ["-CAcreateserial"] : ["-set_serial", `0x${serial}`]),
        "-days",
        String(days),
        "-extfile",
        "extensions",
      ];
      openssl("x509", "-req", "-in", `${name}.csr`, "-out", `${name}.crt`, ...signed);
      return { cert: path(`${name}.crt`), key: path(`${name}.key`) };
    },
    list(revoked, { from, until, extensions = "", reason = "", hash = "sha256", sign = [] } = {}) {
      const line = ({ cert }: Pair): string => {
        const { serialNumber } = new X509Certificate(readFileSync(cert));
        return `R\t491231235959Z\t250101000000Z${reason && `,${reason}`}\t${serialNumber}\tunknown\t/CN=x\n`;
      };
      writeFileSync(path("index.txt"), revoked.map(line).join(""));
      writeFileSync(path("crlnumber"), "01\n");
      const settings = ["database=index.txt", "crlnumber=crlnumber", `default_md=${hash}`, "default_crl_days=2"];
      const own = extensions === "" ? "" : `[extensions]\n${extensions}\n`;
      writeFileSync(path("ca.cnf"), `[ca]\ndefault_ca=own\n[own]\n${settings.join("\n")}\n${own}`);
      const time = (at: Date): string => `${at.toISOString().replace(/\D/g, "").slice(0, 14)}Z`;
      const times = [
        ...(from === undefined ? [] : ["-crl_lastupdate", time(from)]),
        ...(until === undefined ? [] : ["-crl_nextupdate", time(until)]),
      ];
      const signing = sign.flatMap((option) => ["-sigopt", option]);
      const how = ["-config", "ca.cnf", "-cert", "ca.crt", "-keyfile", "ca.key", ...times, ...signing];
      openssl("ca", "-gencrl", ...how, "-out", "list.crl", ...(own === "" ? [] : ["-crlexts", "extensions"]));
      return readFileSync(path("list.crl"), "utf8");
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

export function textOf(path: string): string {
  return readFileSync(path, "utf8");
}
