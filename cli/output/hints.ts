/** Hints on what the system's words mean, and which option helps, for people, who are never told the words alone. */
import { messageOf } from "../../src/base/errors.ts";

const hints: readonly (readonly [said: RegExp, hint: string])[] = [
  [/\bECONNREFUSED\b/, "nobody listens there"],
  [/\bENOTFOUND\b/, "there is no host of that name"],
  [/\b(EHOSTUNREACH|ENETUNREACH)\b/, "there is no way to that host from here"],
  [/\bETIMEDOUT\b/, "the host does not answer"],
  [/\bECONNRESET\b/, "the other end has cut the connection"],
  [/\bENOENT\b/, "there is no such file"],
  [/\b(EACCES|EPERM)\b/, "this user may not"],
  [
    /self.signed certificate|unable to (get|verify)/i,
    "nobody who is trusted has signed the certificate; --cafile names who has, --insecure takes any",
  ],
  [/does not match certificate's altnames/, "name the host with -h as the certificate does, or --insecure takes any"],
  [/certificate has expired/, "the broker needs a new one; --insecure takes any"],
  [
    /bad.(password|decrypt)|BAD_(PASSWORD|DECRYPT)|PASSWORD_READ|no passphrase/i,
    "--key is encrypted: --key-passphrase-file names its passphrase",
  ],
  [/\bKEY_VALUES_MISMATCH\b|_KEY_VALUES_MISMATCH\b/, "--key is not the key of --cert"],
  [/\bERR_(BORINGSSL|SSL|OSSL)/, "TLS cannot be begun; look at --ciphers, --tls-version, --cert and --key"],
];

/** Returns a line with the hint that belongs to it, where it has words of the system's. */
export function withHint(line: string): string {
  const hint = hints.find(([said]) => said.test(line))?.[1];
  return hint === undefined ? line : `${line}: ${hint}`;
}

/** Returns the words of an error of the system's, without its code, and without the call that has failed. */
export function systemWords(error: unknown): string {
  return messageOf(error)
    .replace(/^[A-Z]+: /, "")
    .replace(/, \w+( '.*)?$/s, "");
}
