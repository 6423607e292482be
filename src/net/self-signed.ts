/** A certificate that vouches for itself, made here: for those who trust this one and no other. */
import type { TlsFiles } from "./tls.ts";

/** Object identifiers: a name's CN (X.520), basic constraints and alternative names (RFC 5280, 4.2.1). */
const commonName = "2.5.4.3";
const basicConstraints = "2.5.29.19";
const alternativeNames = "2.5.29.17";
/** RFC 5280, 4.2.1.6: a DNS name. */
const dnsName = 2;

/** Machines whose clocks are behind accept it, too, in ms. */
const earlierMs = 24 * 3600 * 1000;

/**
 * Makes a P-256 key and a certificate for the DNS name `name`, valid from a day before `now` (ms since 1970) for
 * `years`, which is its own authority. The key is returned unencrypted.
 */
export async function makeSelfSigned(name: string, now: number, years: number): Promise<TlsFiles> {
  // Loaded when it is needed: most brokers never make a certificate.
  const [asn1, pki] = await Promise.all([import("asn1js"), import("pkijs")]);
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  const certificate = new pki.Certificate();
  certificate.version = 2;
  certificate.serialNumber = new asn1.Integer({ value: now });
  for (const { typesAndValues } of [certificate.issuer, certificate.subject])
    typesAndValues.push(
      new pki.AttributeTypeAndValue({ type: commonName, value: new asn1.Utf8String({ value: name }) }),
    );
  certificate.notBefore.value = new Date(now - earlierMs);
  // RFC 5280, 4.1.2.5: from 2050 on it must be of this type, in whole seconds.
  const notAfter = new Date(Math.floor(now / 1000) * 1000 + years * 365 * 24 * 3600 * 1000);
  certificate.notAfter = new pki.Time({ type: pki.TimeType.GeneralizedTime, value: notAfter });
  const names = new pki.GeneralNames({ names: [new pki.GeneralName({ type: dnsName, value: name })] });
  const extension = (extnID: string, value: { toSchema(): { toBER(): ArrayBuffer } }, critical: boolean) =>
    new pki.Extension({ extnID, critical, extnValue: value.toSchema().toBER() });
  certificate.extensions = [
    extension(basicConstraints, new pki.BasicConstraints({ cA: true }), true),
    extension(alternativeNames, names, false),
  ];
  await certificate.subjectPublicKeyInfo.importKey(keys.publicKey);
  await certificate.sign(keys.privateKey, "SHA-256");
  const cert = pemOf("CERTIFICATE", certificate.toSchema(true).toBER());
  const key = pemOf("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  return { cert, key, ca: cert };
}

function pemOf(label: string, der: ArrayBuffer): string {
  const lines = Buffer.from(der)
    .toString("base64")
    .replace(/.{64}(?!$)/g, "$&\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
