/**
 * The fields of a certificate (RFC 5280, 4) that lists of revoked ones are held against, byte by byte as they were
 * signed: as texts, names and serial numbers could be written in two ways.
 */
import { contextTag, DerReader, hexOf, serialOf, Tag } from "./der.ts";

/** Names and serial number are in hexadecimal. */
export interface CertificateFields {
  readonly serial: string;
  readonly issuer: string;
  readonly subject: string;
  /** False if it says what its key may be used for, and that lists of revoked certificates are not of it. */
  readonly maySignLists: boolean;
  /** The places at which it says its revocation is published: general names. */
  readonly publishedAt: ReadonlySet<string>;
}

/** Object identifiers of extensions (RFC 5280, 4.2.1 and 5.2), as their bytes are. */
export const Extension = {
  keyUsage: "551d0f",
  listNumber: "551d14",
  reasonCode: "551d15",
  deltaListIndicator: "551d1b",
  issuingDistributionPoint: "551d1c",
  certificateIssuer: "551d1d",
  distributionPoints: "551d1f",
  authorityKeyIdentifier: "551d23",
} as const;

export interface ExtensionValue {
  /** Object identifier, in hexadecimal. */
  readonly id: string;
  readonly isCritical: boolean;
  readonly value: Uint8Array;
}

/** Reads a certificate. Throws `DerError`. */
export function readCertificateFields(der: Uint8Array): CertificateFields {
  const certificate = new DerReader(der).read(Tag.sequence, "the certificate");
  const signed = certificate.read(Tag.sequence, "what is signed");
  signed.readIf(contextTag(0, "constructed"), "its version");
  const serial = serialOf(signed.read(Tag.integer, "its serial number"));
  signed.read(Tag.sequence, "its algorithm");
  const issuer = hexOf(signed.readWhole(Tag.sequence, "its issuer"));
  signed.read(Tag.sequence, "its validity");
  const subject = hexOf(signed.readWhole(Tag.sequence, "its subject"));
  signed.read(Tag.sequence, "its key");
  for (const id of [1, 2]) signed.readIf(contextTag(id, "primitive"), "a unique identifier");
  const extensions = readExtensions(signed.readIf(contextTag(3, "constructed"), "its extensions"));
  return { serial, issuer, subject, maySignLists: maySignLists(extensions), publishedAt: publishedAt(extensions) };
}

/** Reads what follows a member `EXPLICIT Extensions`; none where there is no such member. Throws `DerError`. */
export function readExtensions(member: DerReader | undefined): ExtensionValue[] {
  if (member === undefined) return [];
  const extensions: ExtensionValue[] = [];
  const from = member.read(Tag.sequence, "the list of extensions");
  while (!from.isAtEnd) extensions.push(readExtension(from));
  return extensions;
}

/** Reads the next extension. Throws `DerError`. */
export function readExtension(from: DerReader): ExtensionValue {
  const extension = from.read(Tag.sequence, "an extension");
  const id = hexOf(extension.read(Tag.objectIdentifier, "an extension's name").rest);
  const critical = extension.readIf(Tag.boolean, "whether an extension is critical");
  const { rest: value } = extension.read(Tag.octetString, "an extension's value");
  return { id, isCritical: critical !== undefined && critical.rest[0] !== 0, value };
}

/** Reads the general names of a `DistributionPointName`, each whole, in hexadecimal; undefined: it has none. */
export function readPointNames(point: DerReader): string[] | undefined {
  const names = point.readIf(contextTag(0, "constructed"), "a full name");
  if (names === undefined) return undefined;
  const found: string[] = [];
  while (!names.isAtEnd) found.push(hexOf(names.readAny("a general name")));
  return found;
}

/** The bit of key usage that stands for lists of revoked certificates (4.2.1.3), in the first byte. */
const signsLists = 0x02;

function maySignLists(extensions: readonly ExtensionValue[]): boolean {
  const usage = extensions.find(({ id }) => id === Extension.keyUsage);
  if (usage === undefined) return true;
  const { rest } = new DerReader(usage.value).read(Tag.bitString, "its key usage");
  return ((rest[1] ?? 0) & signsLists) !== 0;
}

/** Only points that are for all reasons, and whose lists the certificate's own issuer signs (4.2.1.13). */
function publishedAt(extensions: readonly ExtensionValue[]): Set<string> {
  const found = new Set<string>();
  const points = extensions.find(({ id }) => id === Extension.distributionPoints);
  if (points === undefined) return found;
  const from = new DerReader(points.value).read(Tag.sequence, "its distribution points");
  while (!from.isAtEnd) {
    const point = from.read(Tag.sequence, "a distribution point");
    const name = point.readIf(contextTag(0, "constructed"), "a distribution point's name");
    if (name === undefined || !point.isAtEnd) continue;
    for (const one of readPointNames(name) ?? []) found.add(one);
  }
  return found;
}
