/**
 * Certificate revocation lists (RFC 5280, 5), one at a time: read, and their signature checked. What such a list may
 * say and is not understood here makes it refused: to pass over it could mean to believe a revoked certificate.
 *
 * Read here and not by `pkijs`, which takes seconds for 10,000 entries, all in one turn of the event loop.
 */
import { constants, type KeyObject, verify } from "node:crypto";
import { Extension, type ExtensionValue, readExtension, readExtensions, readPointNames } from "./certificate-fields.ts";
import { contextTag, DerError, DerReader, dottedOf, hexOf, readTime, serialOf, Tag } from "./der.ts";

/** A list whose signature has not been checked. */
export interface RevocationList {
  /** The issuer's name, as the list has it, in hexadecimal. */
  readonly issuer: string;
  /** When it was made, and when the next one is due (Infinity: it does not say), in ms since 1970. */
  readonly issuedAt: number;
  readonly endsAt: number;
  /** The serial numbers of revoked certificates, as `serialOf` has them. */
  readonly serials: ReadonlySet<string>;
  /** The places (general names) of which a certificate must name one to be covered; undefined: all are covered. */
  readonly places: readonly string[] | undefined;
  /** Views of the bytes that were read. */
  readonly signed: Uint8Array;
  readonly algorithm: Uint8Array;
  readonly signature: Uint8Array;
}

/** RFC 5280, 5.1.2.1: the newest version; the first is not written out. */
const secondVersion = "01";

/** Reads one list, step by step. Throws `DerError`, also if it says what is not understood here. */
export function* readRevocationList(der: Uint8Array): Generator<void, RevocationList, void> {
  const file = new DerReader(der);
  const list = file.read(Tag.sequence, "the list");
  file.finish("the list");
  const signed = list.readWhole(Tag.sequence, "what is signed");
  const algorithm = list.readWhole(Tag.sequence, "the signature's algorithm");
  const { rest: bits } = list.read(Tag.bitString, "the signature");
  list.finish("the signature");
  if (bits[0] !== 0) throw new DerError("the signature is not of whole bytes");
  const from = new DerReader(signed).read(Tag.sequence, "what is signed");
  const version = from.readIf(Tag.integer, "the version");
  if (version !== undefined && serialOf(version) !== secondVersion) throw new DerError("it is of a version to come");
  if (hexOf(from.readWhole(Tag.sequence, "the signed algorithm")) !== hexOf(algorithm))
    throw new DerError("the signature's algorithm is not the one that is signed");
  const issuer = hexOf(from.readWhole(Tag.sequence, "the issuer"));
  const issuedAt = readTime(from, "the time of this update");
  const hasEnd = from.tag === Tag.utcTime || from.tag === Tag.generalizedTime;
  const endsAt = hasEnd ? readTime(from, "the time of the next update") : Infinity;
  const serials = yield* readSerials(from.readIf(Tag.sequence, "the entries"));
  const extensions = readExtensions(from.readIf(contextTag(0, "constructed"), "the list's extensions"));
  from.finish("the list's extensions");
  const places = readPlaces(extensions);
  return { issuer, issuedAt, endsAt, serials, places, signed, algorithm, signature: bits.subarray(1) };
}

/** Entries that are read in one step: some hundred microseconds. */
const entriesPerStep = 16;

function* readSerials(entries: DerReader | undefined): Generator<void, Set<string>, void> {
  const serials = new Set<string>();
  while (entries?.isAtEnd === false) {
    const entry = entries.read(Tag.sequence, "an entry");
    const serial = serialOf(entry.read(Tag.integer, "an entry's serial number"));
    entry.readAny("an entry's time");
    const extensions = entry.readIf(Tag.sequence, "an entry's extensions");
    while (extensions?.isAtEnd === false) checkEntry(serial, readExtension(extensions));
    serials.add(serial);
    if (serials.size % entriesPerStep === 0) yield;
  }
  return serials;
}

/** RFC 5280, 5.3.1: a reason that takes an entry of the base list back. */
const removeFromList = 8;

function checkEntry(serial: string, { id, isCritical, value }: ExtensionValue): void {
  if (id === Extension.certificateIssuer)
    throw new DerError(`serial number ${serial} is another issuer's: indirect lists are not understood`);
  if (id === Extension.reasonCode) {
    const { rest } = new DerReader(value).read(Tag.enumerated, "a reason");
    if (rest[0] === removeFromList)
      throw new DerError(`serial number ${serial} is taken back: lists of changes (delta CRLs) are not understood`);
  } else if (isCritical)
    throw new DerError(`serial number ${serial} has a critical extension that is not understood: ${dottedOf(id)}`);
}

/** Returns the places that a list's extensions restrict it to. Throws `DerError` for what is not understood. */
function readPlaces(extensions: readonly ExtensionValue[]): string[] | undefined {
  let places: string[] | undefined;
  for (const { id, isCritical, value } of extensions) {
    if (id === Extension.deltaListIndicator)
      throw new DerError("it is a list of changes (delta CRL), which is not understood: give the whole list");
    if (id === Extension.issuingDistributionPoint) places = readDistributionPoint(value);
    else if (isCritical && id !== Extension.listNumber && id !== Extension.authorityKeyIdentifier)
      throw new DerError(`it has a critical extension that is not understood: ${dottedOf(id)}`);
  }
  return places;
}

/** Members of IssuingDistributionPoint (RFC 5280, 5.2.5) by which a list says too little, by their numbers. */
const saysTooLittle: Readonly<Record<number, string>> = {
  2: "it is for authorities' certificates only",
  3: "it is for some reasons only",
  4: "it is an indirect list, which is not understood",
  5: "it is for attribute certificates only",
};

/** Reads IssuingDistributionPoint; returns the places that it names. Throws `DerError`. */
function readDistributionPoint(value: Uint8Array): string[] | undefined {
  const point = new DerReader(value).read(Tag.sequence, "the distribution point");
  const name = point.readIf(contextTag(0, "constructed"), "the distribution point's name");
  const places = name && readPointNames(name);
  if (name !== undefined && places === undefined)
    throw new DerError("its distribution point has a relative name, which is not understood");
  while (!point.isAtEnd) {
    const number = point.tag & 0x1f;
    const { rest } = point.read(contextTag(number, "primitive"), "a member of the distribution point");
    const isFalse = number !== 3 && rest[0] === 0;
    // Number 1: for users' certificates only, which clients' are.
    if (number !== 1 && !isFalse) throw new DerError(saysTooLittle[number] ?? "its distribution point is malformed");
  }
  return places;
}

interface Algorithm {
  /** The hash, as node:crypto names it; null: it is part of the algorithm; undefined: the parameters name it. */
  readonly hash: string | null | undefined;
  /** Kinds of keys, as node:crypto names them. */
  readonly keys: readonly string[];
}

/** Algorithms of signatures by their object identifiers' bytes (RFC 3279, 4055, 5758, 8410). SHA-1 is not believed. */
const algorithms: Readonly<Record<string, Algorithm>> = {
  "2a864886f70d01010b": { hash: "sha256", keys: ["rsa"] },
  "2a864886f70d01010c": { hash: "sha384", keys: ["rsa"] },
  "2a864886f70d01010d": { hash: "sha512", keys: ["rsa"] },
  "2a864886f70d01010a": { hash: undefined, keys: ["rsa", "rsa-pss"] },
  "2a8648ce3d040302": { hash: "sha256", keys: ["ec"] },
  "2a8648ce3d040303": { hash: "sha384", keys: ["ec"] },
  "2a8648ce3d040304": { hash: "sha512", keys: ["ec"] },
  "2b6570": { hash: null, keys: ["ed25519"] },
};

/** Hashes that RSASSA-PSS names in its parameters. */
const hashes: Readonly<Record<string, string>> = {
  "608648016503040201": "sha256",
  "608648016503040202": "sha384",
  "608648016503040203": "sha512",
};

/** Returns true if the list is signed with that key. Throws `DerError` if its algorithm is not believed. */
export function isSignedWith({ signed, algorithm, signature }: RevocationList, key: KeyObject): boolean {
  const from = new DerReader(algorithm).read(Tag.sequence, "the signature's algorithm");
  const id = hexOf(from.read(Tag.objectIdentifier, "the signature's algorithm").rest);
  const known = algorithms[id];
  if (known === undefined) throw new DerError(`its signature is by an algorithm that is not taken: ${dottedOf(id)}`);
  if (!known.keys.includes(key.asymmetricKeyType ?? "")) return false;
  const isPss = known.hash === undefined;
  const hash = known.hash === undefined ? hashOfPss(from) : known.hash;
  const padding = isPss ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO } : {};
  return verify(hash, signed, { key, ...padding }, signature);
}

/** Reads the hash out of RSASSA-PSS-params (RFC 4055, 3.1). Throws `DerError` if it is none that is believed. */
function hashOfPss(from: DerReader): string {
  const parameters = from.read(Tag.sequence, "the parameters of RSASSA-PSS");
  const named = parameters.readIf(contextTag(0, "constructed"), "the hash of RSASSA-PSS");
  const id = named?.read(Tag.sequence, "the hash").read(Tag.objectIdentifier, "the hash's name").rest;
  const hash = id && hashes[hexOf(id)];
  if (hash === undefined) throw new DerError("its signature is by RSASSA-PSS with a hash that is not taken");
  return hash;
}
