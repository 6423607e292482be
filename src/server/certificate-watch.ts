/** Tells the operator of certificates of the broker's own that will end, or have ended: nobody is let in by those. */
import { certificateEndNoticeMs, revocationAlarmMs, revocationNoticeMs } from "../base/access-limits.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { TlsIdentity } from "../net/tls.ts";

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
  /** The end that was told last, and at what time of the clock it is told again. */
  #told: { readonly end: number; readonly isOver: boolean; readonly again: number } | undefined;

  constructor(parts: CertificateWatchParts) {
    this.#parts = parts;
  }

  /** Logs that the certificate will end, or has ended; not each time. undefined: there is none yet. */
  look(certificate: OwnCertificate | undefined): void {
    if (certificate === undefined) return;
    const { log, clock, shownTo } = this.#parts;
    const { validFrom, expiresAt: end } = certificate;
    const wall = clock.wall();
    const isOver = wall >= end;
    // Short-lived ones are renewed late, and that is no reason to warn.
    if (wall < end - Math.min(certificateEndNoticeMs, (end - validFrom) / 4)) return;
    const now = clock.now();
    const told = this.#told;
    if (told?.end === end && told.isOver === isOver && now < told.again) return;
    this.#told = { end, isOver, again: now + (isOver ? revocationAlarmMs : revocationNoticeMs) };
    const facts = { shownTo, end: new Date(end).toISOString() };
    if (isOver)
      log.error(facts, `the certificate that ${shownTo} are shown has ended: they do not accept it; renew it`);
    else log.warn(facts, `the certificate that ${shownTo} are shown ends soon: renew it`);
  }
}
