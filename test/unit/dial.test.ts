/** Dialling and accepting over TLS where the other side, or the owner of a connection, does not go along. */
import { expect, test } from "bun:test";
import { makeSelfSigned } from "../../src/net/self-signed.ts";
import { dialTcp, listenTcp } from "../../src/net/tcp.ts";
import { TlsIdentity } from "../../src/net/tls.ts";
import type { Transport } from "../../src/net/transport.ts";

const files = await makeSelfSigned("self.test", Date.now(), 50);
const nothing = { opened: () => undefined, received() {}, drained() {}, closed() {} };
const tls = { ca: files.cert, serverName: "self.test" };

test("who accepts a connection and says nothing is given up in time", async () => {
  const silent = listenTcp("127.0.0.1", 0, nothing, { flag: "--port" });
  const dialledAt = performance.now();
  await expect(dialTcp("127.0.0.1", silent.port, nothing, { tls, handshakeMs: 200 })).rejects.toThrow(
    "TLS: no handshake in time",
  );
  expect(performance.now() - dialledAt).toBeGreaterThan(190);
  silent.close();
});

test("a connection over TLS whose owner closes it as it opens is closed, and the next one is served", async () => {
  const identity = new TlsIdentity(files, { clientCertificates: "off", versionMin: "1.3" });
  let accepted = 0;
  const events = {
    ...nothing,
    opened(transport: Transport) {
      if (++accepted === 1) transport.abort();
      return undefined;
    },
  };
  const listener = listenTcp("127.0.0.1", 0, events, { tls: { identity, protocol: "x" }, flag: "--tls-port" });
  const dial = () =>
    dialTcp("127.0.0.1", listener.port, nothing, { tls: { ...tls, protocol: "x" }, handshakeMs: 5000 });
  await expect(dial()).rejects.toThrow("cannot connect");
  await dial();
  expect(accepted).toBe(2);
  listener.close();
});

test("a certificate that is made here is valid beyond 2050, for its name alone", async () => {
  const { X509Certificate } = await import("node:crypto");
  const certificate = new X509Certificate(files.cert);
  expect([certificate.checkHost("self.test"), certificate.checkHost("other.test")]).toEqual(["self.test", undefined]);
  expect(certificate.validToDate.getFullYear()).toBeGreaterThan(2070);
  expect(certificate.verify(certificate.publicKey)).toBe(true);
});
