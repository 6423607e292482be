/** Tells the operator of certificates of the broker's own that will end, or have ended: nobody is let in by those. */
import { certificateEndNoticeMs } from "../base/access-limits.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { TlsIdentity } from "../net/tls.ts";
import { EndNotice } from "./end-notice.ts";

/** A certificate of the broker's own. */
export type OwnCertificate = Pick<TlsIdentity, "validFrom" | "expiresAt">;

/** The certificates that a broker shows to clients, and to other brokers; undefined: it shows none. */
export interface ShownCertificates {
  readonly tls: TlsIdentity | undefined;
  readonly linkTls: TlsIdentity | undefined;
}

/** The log, the clock, and whom the certificate is shown to. */
export interface CertificateWatchParts {
  readonly log: Pick<Log, "warn" | "error">;
  readonly clock: Clock;
  readonly shownTo: "clients" | "other brokers";
}

/** Looks after one certificate as often as it is told to. */
export class CertificateWatch {
  readonly #parts: CertificateWatchParts;
  readonly #notice: EndNotice;

  constructor(parts: CertificateWatchParts) {
    this.#parts = parts;
    this.#notice = new EndNotice(parts.clock, certificateEndNoticeMs);
  }

  /** Logs that the certificate will end, or has ended; not each time. undefined: there is none yet. */
  look(certificate: OwnCertificate | undefined): void {
    const { log, shownTo } = this.#parts;
    const stage = this.#notice.look(
      certificate && { of: shownTo, since: certificate.validFrom, end: certificate.expiresAt },
    );
    if (stage === undefined) return;
    const facts = { shownTo, end: new Date(certificate!.expiresAt).toISOString() };
    if (stage === "over")
      log.error(facts, `the certificate that ${shownTo} are shown has ended: they do not accept it; renew it`);
    else log.warn(facts, `the certificate that ${shownTo} are shown ends soon: renew it`);
  }
}
