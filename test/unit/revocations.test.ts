/** Lists of revoked certificates, made by openssl: what they say, whose they are, and what must not be misread. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { OperatingError } from "../../src/base/errors.ts";
import type { Log } from "../../src/base/log.ts";
import { finish } from "../../src/base/slices.ts";
import { DerReader, serialOf } from "../../src/net/der.ts";
import { Revocations } from "../../src/net/revocations.ts";
import { CertificateWatch } from "../../src/server/certificate-watch.ts";
import { RevocationWatch } from "../../src/server/revocation-watch.ts";
import { type Authority, makeAuthority, type Pair, textOf } from "../support/certificates.ts";

const hour = 3_600_000;
let authority: Authority;
let good: Pair;
let bad: Pair;
/** The wall's clock of the machine under test. */
let wall = Date.now();
const refusals: string[] = [];

beforeAll(() => {
  authority = makeAuthority();
  good = authority.issue("good");
  bad = authority.issue("bad");
});
afterAll(() => authority.remove());

function open(file: string | Uint8Array, ca = textOf(authority.ca)): Revocations {
  const revocations = new Revocations({ now: () => wall, wall: () => wall }, (_, why) => refusals.push(why));
  finish(revocations.changeInSteps(typeof file === "string" ? Buffer.from(file) : file, ca));
  return revocations;
}

const shown = (pair: Pair): X509Certificate => new X509Certificate(readFileSync(pair.cert));

function verdict(revocations: Revocations, pair: Pair): string {
  const looked = revocations.look(shown(pair));
  return looked.kind === "good" ? "good" : looked.cause;
}

/** Returns what is said of a file that is refused: one line. */
function whyNot(file: string | Uint8Array, ca?: string): string {
  try {
    open(file, ca);
  } catch (error) {
    expect(error).toBeInstanceOf(OperatingError);
    const { message } = error as OperatingError;
    expect(message).not.toContain("\n");
    return message;
  }
  return "it was taken";
}

function derOf(pem: string): Buffer {
  return Buffer.from(/-----BEGIN X509 CRL-----([^-]+)-/.exec(pem)![1]!, "base64");
}

test("who stands in his issuer's list is revoked; the others are not; in PEM, in DER, several in one file", () => {
  const other = makeAuthority({ name: "Another authority" });
  const theirs = other.issue("theirs");
  const both = `${textOf(authority.ca)}${textOf(other.ca)}`;
  const list = authority.list([bad]);
  for (const file of [list, derOf(list), `some words\n${list}\nmore words`]) {
    const revocations = open(file, both);
    expect([good, bad, theirs].map((pair) => verdict(revocations, pair))).toEqual(["good", "revoked", "unlisted"]);
  }
  expect(refusals.at(-1)).toBe("--tls-crl has no list that covers it, of CN=Another authority");
  const revocations = open(`${list}${other.list([theirs])}`, both);
  expect([good, bad, theirs].map((pair) => verdict(revocations, pair))).toEqual(["good", "revoked", "revoked"]);
  const released = open(`${authority.list([], { from: new Date(wall + hour) })}${list}`);
  expect(verdict(released, bad)).toBe("good");
  other.remove();
});

test("serial numbers are compared as numbers, whatever their first bit and however many zeros are before them", () => {
  const number = (...bytes: number[]): string => serialOf(new DerReader(Uint8Array.from(bytes)));
  expect([number(0, 0x80), number(0x80), number(0, 0, 1), number(0)]).toEqual(["80", "80", "01", "00"]);
  // Where the first bit is set, a zero stands before it.
  const serials = ["01", "7f", "80", "ff00", "00ff0001", "8000000000000000000000000000000000000000", "0100"];
  const many = serials.map((serial) => authority.issue(`serial-${serial}`, { serial }));
  for (const pair of many) {
    const lists = open(authority.list([pair]));
    expect(many.map((other) => verdict(lists, other) === "revoked")).toEqual(many.map((other) => other === pair));
  }
});

test("a list that has ended covers nobody, but still says who is revoked", () => {
  const revocations = open(authority.list([bad], { until: new Date(wall + hour) }));
  expect([good, bad].map((pair) => verdict(revocations, pair))).toEqual(["good", "revoked"]);
  wall += hour + 1000;
  expect([good, bad].map((pair) => verdict(revocations, pair))).toEqual(["overdue", "revoked"]);
  wall = Date.now();
});

test("a list by somebody else, of another name, or by a key that is not for that, is refused", () => {
  const impostor = makeAuthority();
  expect(whyNot(impostor.list([]))).toContain("list 1 of 1 of revoked certificates: its signature is not by");
  const stranger = makeAuthority({ name: "Stranger" });
  expect(whyNot(`${authority.list([])}${stranger.list([])}`)).toContain(
    "list 2 of 2 of revoked certificates: its issu",
  );
  const more = ["-addext", "keyUsage=critical,keyCertSign"];
  const other = makeAuthority({ name: "No lists", more });
  expect(whyNot(other.list([]), textOf(other.ca))).toContain("key is not for lists");
  // Clients of the impostor's, who bears the same name; one does not say which of the two has issued it.
  const revocations = open(authority.list([]));
  for (const extensions of ["", "authorityKeyIdentifier=none"])
    expect(verdict(revocations, impostor.issue("x", { extensions }))).toBe("unlisted");
  for (const one of [impostor, stranger, other]) one.remove();
});

test("signatures by other kinds of keys count, too", () => {
  for (const key of [["rsa:2048"], ["ed25519"], ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]]) {
    const other = makeAuthority({ key });
    const pair = other.issue("x");
    const hash = key[0] === "ed25519" ? "null" : "sha384";
    const list = other.list([pair], { hash });
    expect(verdict(open(list, textOf(other.ca)), pair)).toBe("revoked");
    expect(verdict(open(other.list([], { hash }), textOf(other.ca)), pair)).toBe("good");
    const forged = derOf(list);
    forged[forged.length - 1]! ^= 1;
    expect(whyNot(forged, textOf(other.ca))).toContain("its signature is not by");
    if (key[0] === "rsa:2048")
      expect(whyNot(other.list([pair], { hash: "sha1" }), textOf(other.ca))).toContain("algorithm that is not taken");
    other.remove();
  }
});

test("a list that is for some places only covers the certificates that name one of them", () => {
  const at = (place: string): string => `URI:http://crl.test/${place}`;
  const list = (place: string, revoked: Pair[]): string =>
    authority.list(revoked, {
      extensions: `issuingDistributionPoint=critical,@point\n[point]\nfullname=${at(place)}`,
    });
  const here = authority.issue("here", { extensions: `crlDistributionPoints=${at("1")}` });
  const gone = authority.issue("gone", { extensions: `crlDistributionPoints=${at("2")},${at("1")}` });
  const elsewhere = authority.issue("elsewhere", { extensions: `crlDistributionPoints=${at("2")}` });
  const all = [here, gone, elsewhere, good];
  const first = open(list("1", [gone]));
  expect(all.map((pair) => verdict(first, pair))).toEqual(["good", "revoked", "unlisted", "unlisted"]);
  const two = open(`${list("1", [gone])}${list("2", [])}`);
  expect(all.map((pair) => verdict(two, pair))).toEqual(["good", "revoked", "good", "unlisted"]);
});

test("what could be misread is refused in words: changes, indirect and partial lists, what is not known", () => {
  const point = (members: string): string => `issuingDistributionPoint=critical,@point\n[point]\n${members}`;
  const cases: [string, string][] = [
    ["2.5.29.27=critical,ASN1:INTEGER:1", "delta CRL"],
    [point("indirectCRL=TRUE"), "indirect list"],
    [point("onlyCA=TRUE"), "for authorities' certificates only"],
    [point("onlyAA=TRUE"), "for attribute certificates only"],
    [point("onlysomereasons=keyCompromise"), "for some reasons only"],
    [point("relativename=name\n[name]\nCN=x"), "relative name"],
    ["1.2.3.4=critical,ASN1:INTEGER:1", "critical extension that is not understood: 1.2.3.4"],
  ];
  for (const [extensions, words] of cases) expect(whyNot(authority.list([bad], { extensions }))).toContain(words);
  const fine = authority.list([bad], { extensions: `${point("onlyuser=TRUE")}` });
  expect(verdict(open(fine), bad)).toBe("revoked");
  expect(verdict(open(authority.list([bad], { extensions: "1.2.3.4=ASN1:INTEGER:1" })), good)).toBe("good");
  expect(verdict(open(authority.list([bad], { reason: "keyCompromise" })), bad)).toBe("revoked");
  // openssl does not write this one: the reason is the last byte of the entry, and the signature is looked at later.
  const taken = derOf(authority.list([bad], { reason: "keyCompromise" }));
  const at = taken.indexOf(Buffer.from("0603551d1504030a0101", "hex"));
  taken[at + 9] = 8;
  expect(whyNot(taken)).toContain("taken back");
  taken[at + 4] = 0x1d;
  expect(whyNot(taken)).toContain("another issuer's");
});

test("a malformed file is refused in one line, wherever it is cut or changed, and what was read before stays", () => {
  const list = authority.list([bad], { reason: "keyCompromise" });
  const der = derOf(list);
  const revocations = open(list);
  for (let length = 0; length < der.length; length++) {
    const cut = der.subarray(0, length);
    expect(whyNot(cut)).toMatch(/malformed|missing|cut off|no list|not of whole bytes|is of type/);
    const changed = Buffer.from(der);
    changed[length]! ^= 0x81;
    // Whatever it is, it is not what was signed.
    expect(whyNot(changed)).not.toBe("it was taken");
    expect(() => finish(revocations.changeInSteps(changed, textOf(authority.ca)))).toThrow(OperatingError);
  }
  expect([good, bad].map((pair) => verdict(revocations, pair))).toEqual(["good", "revoked"]);
  expect(whyNot(list.slice(0, -10))).toContain("malformed PEM, or cut off");
  expect(whyNot(`${list}${textOf(good.cert)}`)).toContain("is a CERTIFICATE");
  for (const file of ["", "words", "0", Buffer.alloc(33 * 1024 * 1024)]) expect(whyNot(file)).toContain("list");
  expect(whyNot(Buffer.from("3080", "hex"))).toContain("no length that DER allows");
});

/** Returns a log that notes its warnings and errors as texts. */
function notingLog(): { readonly said: string[]; readonly log: Log } {
  const said: string[] = [];
  const say =
    (level: string) =>
    (_: unknown, words?: string): void =>
      void said.push(`${level}: ${words}`);
  return { said, log: { warn: say("warn"), error: say("error") } as unknown as Log };
}

test("the operator is told before a list ends, and when it has; not each time it is looked at", () => {
  const { said, log } = notingLog();
  let now = 0;
  const day = 24 * hour;
  const list = { issuer: "CN=x", issuedAt: 0, endsAt: 4 * day };
  const later = { issuer: "CN=y", issuedAt: 0, endsAt: 40 * day };
  const watch = new RevocationWatch(log, { now: () => now, wall: () => now });
  const endless = { issuer: "CN=z", issuedAt: 0, endsAt: Infinity };
  for (now = 0; now < 5 * day; now += hour / 2) watch.look([later, endless, list]);
  expect(said.filter((line) => line.startsWith("warn: ")).length).toBe(1);
  expect(said[0]).toContain("ends soon");
  expect(said.filter((line) => line.startsWith("error: ")).length).toBe(24);
  expect(said.length).toBe(25);
  said.length = 0;
  watch.look([later]);
  expect(said).toEqual([]);
});

test("the operator is told before a certificate of the broker's own ends, and when it has", () => {
  const { said, log } = notingLog();
  const day = 24 * hour;
  let now = 0;
  const clock = { now: () => now, wall: () => now };
  const watch = new CertificateWatch({ log, clock, shownTo: "other brokers" });
  watch.look(undefined);
  for (now = 0; now < 401 * day; now += hour / 2) watch.look({ validFrom: 0, expiresAt: 400 * day });
  expect(said.map((line) => line.split(":")[0])).toEqual([...Array(14).fill("warn"), ...Array(24).fill("error")]);
  expect(said[0]).toContain("the certificate that other brokers are shown ends soon");
  // A renewed one; one that lives for a day is renewed within its last quarter.
  said.length = 0;
  watch.look({ validFrom: now, expiresAt: now + 400 * day });
  const short = { validFrom: now, expiresAt: now + day };
  for (const until = now + day; now < until; now += hour) watch.look(short);
  expect(said.length).toBe(1);
});

test("lists that are signed with RSASSA-PSS are believed, but not by a hash that is too weak", () => {
  const pss = (hash: string) => ["rsa_padding_mode:pss", "rsa_pss_saltlen:digest", `rsa_mgf1_md:${hash}`];
  const signer = makeAuthority({ key: ["rsa", "-pkeyopt", "rsa_keygen_bits:2048"], name: "By RSA" });
  const [kept, revoked] = [signer.issue("kept"), signer.issue("revoked")];
  const ca = textOf(signer.ca);
  for (const hash of ["sha256", "sha512"]) {
    const list = signer.list([revoked], { hash, sign: pss(hash) });
    const revocations = open(list, ca);
    expect([hash, verdict(revocations, kept), verdict(revocations, revoked)]).toEqual([hash, "good", "revoked"]);
    // One bit of the signature.
    const forged = derOf(list);
    forged[forged.length - 1]! ^= 1;
    expect(whyNot(forged, ca)).not.toBe("it was taken");
  }
  const weak = signer.list([revoked], { hash: "sha1", sign: pss("sha1") });
  expect(whyNot(weak, ca)).toContain("RSASSA-PSS with a hash that is not taken");
  signer.remove();
  // Keys that are RSASSA-PSS's alone are read by no TLS of Bun's: such an authority is refused in words, at the start.
  const other = makeAuthority({ key: ["rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"], name: "By RSASSA-PSS" });
  expect(whyNot(other.list([]), textOf(other.ca))).toContain("certificate authority 1 is malformed");
  other.remove();
});
