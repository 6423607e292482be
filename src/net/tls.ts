/**
 * The identity of a TLS listener: its certificate and key, and the authorities whose clients it lets in. The texts may
 * be changed while it listens: handshakes that begin then use the new ones. Versions before TLS 1.2 are not spoken.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Socket } from "bun";
import { messageOf, OperatingError } from "../base/errors.ts";
import { finish, type Work } from "../base/slices.ts";
import type { Looked, Revocations, Standing } from "./revocations.ts";
import type { AlternativeName, Certificate, TlsVersion } from "./transport.ts";

/** off: not asked for; request: may be shown; require: no connection without one. What is shown must be valid. */
export type ClientCertificates = "off" | "request" | "require";

/** PEM texts. `cert` may hold the whole chain, `ca` those who sign clients' certificates. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  readonly ca: string | undefined;
  /** Lists of revoked certificates, in PEM or DER; undefined: it is not asked whether clients' have been revoked. */
  readonly crl?: Uint8Array | undefined;
}

export interface TlsPolicy {
  readonly clientCertificates: ClientCertificates;
  readonly versionMin: TlsVersion;
  /** The lists of revoked certificates; undefined: clients' certificates are not looked up. */
  readonly revocations?: Revocations | undefined;
}

/** As they stand in the handshake. */
export const versionNumbers: Record<TlsVersion, number> = { "1.2": 0x0303, "1.3": 0x0304 };

/** The outcome of a handshake. */
export interface Judged {
  /** The reason why the connection is refused; undefined: it is not. */
  readonly refusal: string | undefined;
  /** The client's certificate, which has not been revoked; undefined: it has shown none, or it is not looked up. */
  readonly standing: Standing | undefined;
}

/** OpenSSL's words for a client that has shown no certificate: Bun's says this, its type nothing. */
const nothingShown = "UNABLE_TO_GET_ISSUER_CERT";

export class TlsIdentity {
  readonly #policy: TlsPolicy;
  #files!: TlsFiles;
  /** When the certificate begins to be valid, and when it ends, in ms since 1970. */
  validFrom = 0;
  expiresAt = 0;
  /** Handshakes that have failed. */
  failures = 0;

  /** Throws `OperatingError` that says what is wrong with the files. */
  constructor(files: TlsFiles, policy: TlsPolicy) {
    this.#policy = policy;
    this.change(files);
  }

  /** Uses these files from now on. Throws `OperatingError`, and stays with what it has. */
  change(files: TlsFiles): void {
    finish(this.changeInSteps(files));
  }

  /** Uses these files once all steps are done. Throws `OperatingError`, and stays with what it has. */
  *changeInSteps(files: TlsFiles): Work {
    const { validFromDate, validToDate } = checkFiles(files);
    const { crl, ca = "" } = files;
    const { revocations } = this.#policy;
    if (crl !== undefined && revocations !== undefined) yield* revocations.changeInSteps(crl, ca);
    this.validFrom = validFromDate.getTime();
    this.expiresAt = validToDate.getTime();
    this.#files = files;
  }

  /** The lists of revoked certificates; undefined: clients' certificates are not looked up. */
  get revocations(): Revocations | undefined {
    return this.#policy.revocations;
  }

  /**
   * Options for Bun's listener. `protocol`: to agree on with clients that ask (ALPN); one that asks for none of ours is
   * refused.
   */
  options(protocol: string): object {
    const { clientCertificates, versionMin } = this.#policy;
    const { cert, key, ca } = this.#files;
    return {
      cert,
      key,
      ...(ca === undefined ? {} : { ca }),
      requestCert: clientCertificates !== "off",
      // Who shows nothing is told so in the handshake; what is shown and is not valid is told apart in `refusal`.
      rejectUnauthorized: clientCertificates === "require",
      minVersion: versionNumbers[versionMin],
      ALPNProtocols: alpnOf(protocol),
    };
  }

  /** Options for Bun's HTTP server, which asks nobody for a certificate. Each renewal makes others. */
  get serverOptions(): { readonly cert: string; readonly key: string; readonly minVersion: number } {
    const { cert, key } = this.#files;
    return { cert, key, minVersion: versionNumbers[this.#policy.versionMin] };
  }

  /** Judges a connection whose handshake is over. */
  judge(socket: Socket<unknown>, failure: Error | undefined): Judged {
    const why = this.#whyNot(socket, failure);
    const looked = why === undefined ? this.#look(socket) : undefined;
    const refusal = looked?.kind === "refused" ? `TLS: the client's certificate is not valid: ${looked.why}` : why;
    if (refusal !== undefined) this.failures++;
    return { refusal, standing: looked?.kind === "good" ? looked.standing : undefined };
  }

  /** Looks up the certificate that the client has shown, if it has, and it is looked up. */
  #look(socket: Socket<unknown>): Looked | undefined {
    const { revocations } = this.#policy;
    const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined;
    return certificate && revocations?.look(certificate);
  }

  #whyNot(socket: Socket<unknown>, failure: Error | undefined): string | undefined {
    if (failure !== undefined) return `TLS: ${messageOf(failure)}`;
    const { clientCertificates } = this.#policy;
    if (clientCertificates === "off" || socket.authorized) return undefined;
    const error = socket.getAuthorizationError();
    const code = (error as { code?: string } | null)?.code;
    const isShown = code !== nothingShown && error !== null;
    if (isShown) return `TLS: the client's certificate is not valid: ${messageOf(error)}`;
    return clientCertificates === "require" ? "TLS: the client shows no certificate" : undefined;
  }
}

/** As in the handshake: with its length before it. */
export function alpnOf(protocol: string): Uint8Array {
  return Uint8Array.of(protocol.length, ...Buffer.from(protocol));
}

/** Returns the certificate. Throws `OperatingError` if the files do not belong together. */
function checkFiles({ cert, key, ca }: TlsFiles): X509Certificate {
  const certificate = readCertificate(cert, "certificate");
  if (ca !== undefined) readCertificate(ca, "certificate authority");
  let fits: boolean;
  try {
    fits = certificate.checkPrivateKey(createPrivateKey(key));
  } catch (error) {
    throw new OperatingError(
      "EFILE",
      `the TLS key is no private key in PEM, or needs a pass phrase: ${messageOf(error)}`,
    );
  }
  if (!fits) throw new OperatingError("EFILE", "the TLS key is not the one of the certificate");
  return certificate;
}

function readCertificate(pem: string, what: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new OperatingError("EFILE", `the TLS ${what} is none in PEM: ${messageOf(error)}`);
  }
}

/** Returns the certificate that the other side has proved; undefined: it has none. */
export function certificateOf(socket: Socket<unknown>): Certificate | undefined {
  if (!socket.authorized) return undefined;
  const shown = socket.getPeerCertificate() as unknown as {
    subject?: { CN?: unknown };
    subjectaltname?: unknown;
    valid_to?: unknown;
  } | null;
  if (shown?.subject === undefined) return undefined;
  const commonName = shown.subject.CN;
  const names = typeof shown.subjectaltname === "string" ? shown.subjectaltname : "";
  return {
    commonName: typeof commonName === "string" && commonName !== "" ? commonName : undefined,
    alternativeNames: alternativeNamesIn(names),
    expiresAt: timeOf(shown.valid_to),
  };
}

/** Reads `Nov 26 18:30:00 2026 GMT`; Infinity for what is no time. */
function timeOf(text: unknown): number {
  const time = Date.parse(String(text));
  return Number.isNaN(time) ? Infinity : time;
}

const kinds: Record<string, AlternativeName["kind"]> = { DNS: "dns", email: "email", "IP Address": "ip", URI: "uri" };

/** Reads `DNS:a.test, URI:"b\u002c c"`: a name with a comma, or another sign of this list, is a JSON text. */
export function alternativeNamesIn(list: string): AlternativeName[] {
  return list.split(", ").flatMap((entry) => {
    const [, label = "", written = ""] = /^([^:]+):(.+)$/s.exec(entry) ?? [];
    const kind = kinds[label];
    if (kind === undefined) return [];
    try {
      return [{ kind, name: written.startsWith('"') ? String(JSON.parse(written)) : written }];
    } catch {
      return [];
    }
  });
}
