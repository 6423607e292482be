/**
 * The lists of revoked certificates that the operator gives (`--tls-crl`), and what they say of a client's. As in
 * OpenSSL's `X509_V_FLAG_CRL_CHECK`, the client's own certificate must be covered by a list of its issuer that has not
 * ended, and not stand there; its issuer's certificate is not looked up. Bun's TLS knows no lists, so this is done
 * after the handshake, which may also have resumed a session of before the certificate was revoked.
 */
import { type KeyObject, X509Certificate } from "node:crypto";
import { revocationFileBytesMax } from "../base/access-limits.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf, OperatingError } from "../base/errors.ts";
import type { Work } from "../base/slices.ts";
import { type CertificateFields, readCertificateFields } from "./certificate-fields.ts";
import { isSignedWith, type RevocationList, readRevocationList } from "./crl.ts";
import { DerError, Tag } from "./der.ts";

/** revoked: it stands in a list; unlisted: no list covers it; overdue: the list has ended, and no next one has come. */
export type RevocationCause = "revoked" | "unlisted" | "overdue";

/** A certificate that has been let in, by which it is known again when the lists have changed. */
export interface Standing {
  /** `Authority.id` of its issuer. */
  readonly issuer: string;
  readonly serial: string;
}

export type Looked =
  | { readonly kind: "good"; readonly standing: Standing }
  | { readonly kind: "refused"; readonly cause: RevocationCause; readonly why: string };

/** The facts of a list that people are told. */
export interface ListFacts {
  /** The issuer's name, in one line. */
  readonly issuer: string;
  /** In ms since 1970; Infinity: it has no end. */
  readonly issuedAt: number;
  readonly endsAt: number;
}

interface Authority {
  /** Name and key: an authority whose certificate was renewed is the same. */
  readonly id: string;
  readonly certificate: X509Certificate;
  readonly fields: CertificateFields;
  readonly key: KeyObject;
  /** For each set of places the newest list. */
  readonly lists: Map<string, RevocationFacts>;
}

/** A list without the bytes that it was read from. */
type RevocationFacts = Omit<RevocationList, "signed" | "algorithm" | "signature">;

/** Says of clients' certificates whether they have been revoked. */
export class Revocations {
  readonly #clock: Clock;
  readonly #refused: (cause: RevocationCause, why: string) => void;
  #authorities: readonly Authority[] = [];

  /** `refused` is told of each certificate that is not let in. */
  constructor(clock: Clock, refused: (cause: RevocationCause, why: string) => void) {
    this.#clock = clock;
    this.#refused = refused;
  }

  /**
   * Uses these once all steps are done: `file` holds lists in PEM, or one in DER, and `ca` the certificates of those
   * who may have signed them, in PEM. Throws `OperatingError` (EFILE), and stays with what it has.
   */
  *changeInSteps(file: Uint8Array, ca: string): Work {
    const authorities = readAuthorities(ca);
    const lists = listsIn(file);
    for (const [index, der] of lists.entries()) {
      try {
        add(yield* readRevocationList(der), authorities);
      } catch (error) {
        if (!(error instanceof DerError)) throw error;
        throw wrong(`list ${index + 1} of ${lists.length} of revoked certificates: ${error.message}`);
      }
    }
    this.#authorities = authorities;
  }

  /** Looks up the certificate that a client has proved to own. */
  look(certificate: X509Certificate): Looked {
    const looked = this.#look(certificate);
    if (looked.kind === "refused") this.#refused(looked.cause, looked.why);
    return looked;
  }

  #look(certificate: X509Certificate): Looked {
    const issuer = certificate.issuer.replaceAll("\n", ", ");
    const refused = (cause: RevocationCause, why: string): Looked => ({ kind: "refused", cause, why });
    const authority = this.#authorities.find(
      (one) => certificate.checkIssued(one.certificate) && certificate.verify(one.key),
    );
    if (authority === undefined) return refused("unlisted", `its issuer is not itself in --tls-ca: ${issuer}`);
    let fields: CertificateFields;
    try {
      fields = readCertificateFields(certificate.raw);
    } catch (error) {
      if (!(error instanceof DerError)) throw error;
      return refused("unlisted", `it cannot be looked up: ${error.message}`);
    }
    const standing = { issuer: authority.id, serial: fields.serial };
    if (this.isRevoked(standing)) return refused("revoked", `it has been revoked: serial number ${fields.serial}`);
    const covering = [...authority.lists.values()].filter(
      ({ places }) => places === undefined || places.some((place) => fields.publishedAt.has(place)),
    );
    if (covering.length === 0) return refused("unlisted", `--tls-crl has no list that covers it, of ${issuer}`);
    const now = this.#clock.wall();
    if (!covering.some(({ endsAt }) => endsAt > now))
      return refused("overdue", `the list in --tls-crl has ended, of ${issuer}`);
    return { kind: "good", standing };
  }

  /** Returns true if a certificate stands in a list of its issuer by now. */
  isRevoked({ issuer, serial }: Standing): boolean {
    return this.#authorities.some(
      ({ id, lists }) => id === issuer && [...lists.values()].some(({ serials }) => serials.has(serial)),
    );
  }

  /** The lists that are in use. */
  get lists(): ListFacts[] {
    return this.#authorities.flatMap(({ certificate, lists }) =>
      [...lists.values()].map(({ issuedAt, endsAt }) => ({
        issuer: certificate.subject.replaceAll("\n", ", "),
        issuedAt,
        endsAt,
      })),
    );
  }
}

/** Gives a list to those who have signed it. Throws `DerError` if nobody has. */
function add(list: RevocationList, authorities: readonly Authority[]): void {
  const named = authorities.filter(({ fields }) => fields.subject === list.issuer);
  if (named.length === 0) throw new DerError("its issuer is not in --tls-ca");
  const signers = named.filter(({ key }) => isSignedWith(list, key));
  if (signers.length === 0) throw new DerError("its signature is not by the certificate in --tls-ca that it names");
  const { issuer, issuedAt, endsAt, serials, places } = list;
  for (const { fields, lists } of signers) {
    if (!fields.maySignLists) throw new DerError("its issuer's key is not for lists of revoked certificates");
    const at = places === undefined ? "" : [...places].sort().join(" ");
    const other = lists.get(at);
    if (other === undefined || other.issuedAt < issuedAt) lists.set(at, { issuer, issuedAt, endsAt, serials, places });
  }
}

function readAuthorities(ca: string): Authority[] {
  return blocksIn(ca, "certificate authorities")
    .filter(({ label }) => label === "CERTIFICATE")
    .map(({ der }, index) => {
      try {
        const certificate = new X509Certificate(der);
        const fields = readCertificateFields(certificate.raw);
        const key = certificate.publicKey;
        const id = `${fields.subject} ${key.export({ type: "spki", format: "der" }).toString("base64")}`;
        return { id, certificate, fields, key, lists: new Map() };
      } catch (error) {
        throw wrong(`certificate authority ${index + 1} is malformed: ${messageOf(error)}`);
      }
    });
}

/** Returns the lists in a file, each in DER. Throws `OperatingError` if there are none, or something else is there. */
function listsIn(file: Uint8Array): Uint8Array[] {
  if (file.length > revocationFileBytesMax)
    throw wrong(`the lists of revoked certificates are of more than ${revocationFileBytesMax} bytes`);
  const text = Buffer.from(file.buffer, file.byteOffset, file.length).toString("latin1");
  if (file[0] === Tag.sequence && !text.includes(blockBegins)) return [file];
  const blocks = blocksIn(text, "lists of revoked certificates");
  for (const { label } of blocks)
    if (label !== "X509 CRL") throw wrong(`among the lists of revoked certificates is a ${label}`);
  if (blocks.length === 0) throw wrong("there is no list of revoked certificates, in PEM or DER");
  return blocks.map(({ der }) => der);
}

interface Block {
  readonly label: string;
  readonly der: Uint8Array;
}

const blockBegins = "-----BEGIN ";

/** Returns what a PEM text holds (RFC 7468), whatever words are around it. Throws `OperatingError` if it is cut off. */
function blocksIn(pem: string, what: string): Block[] {
  const found = [...pem.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]*)-----END \1-----/g)];
  if (found.length !== pem.split(blockBegins).length - 1) throw wrong(`the ${what} are malformed PEM, or cut off`);
  return found.map(([, label, text]) => ({ label: label!, der: Buffer.from(text!, "base64") }));
}

function wrong(why: string): OperatingError {
  return new OperatingError("EFILE", why);
}
