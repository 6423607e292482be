/** The system's words are never told alone. */
import { expect, test } from "bun:test";
import { withHint } from "../../cli/output/hints.ts";

test.each([
  ["cannot connect to localhost:1: ECONNREFUSED", "nobody listens there"],
  ["cannot connect to nowhere:1883: ENOTFOUND", "there is no host of that name"],
  ["ECONNRESET: connection reset by peer, read", "the other end has cut the connection"],
  ["cannot connect to a:8883: TLS: self signed certificate", "--cafile names who has"],
  ["cannot connect to a:8883: TLS: unable to get local issuer certificate", "--cafile names who has"],
  ["cannot connect to a:8883: ERR_OSSL_X509_KEY_VALUES_MISMATCH", "--key is not the key of --cert"],
  ["cannot connect to a:8883: ERR_BORINGSSL", "TLS cannot be begun"],
])("%s", (line, hint) => {
  expect(withHint(line).startsWith(`${line}: `)).toBe(true);
  expect(withHint(line)).toContain(hint);
});

test("words of our own stay as they are", () => {
  for (const line of ["no topic: give one with -t", "the broker refused the message: 0x87 not authorized"])
    expect(withHint(line)).toBe(line);
});
