/** The door to sockets, as the rest of the house sees it. TCP is one implementation, WebSocket over it another. */

import { crash, orCrash } from "../base/assert.ts";

/** The names in a verified certificate. */
export interface Certificate {
  /** Subject's common name; undefined: it has none. */
  readonly commonName: string | undefined;
  /** Subject's alternative names, in their order. */
  readonly alternativeNames: readonly AlternativeName[];
  /** The time until which it is valid, in ms since 1970; Infinity: that is not known. */
  readonly expiresAt: number;
}

/** One of a certificate's other names. An authority may vouch for names of one kind, and let clients choose others. */
export interface AlternativeName {
  readonly kind: "dns" | "email" | "ip" | "uri";
  readonly name: string;
}

/** The states of a device that sleeps at times. */
export type DeviceState = "active" | "asleep" | "awake";
/** The protocols of such devices. */
export type DeviceProtocol = "MQTT-SN 1.2" | "MQTT-SN 2.0";

export interface Transport {
  /** Address and port of the other side, as people read them. */
  readonly remote: string;
  /** The IP address of the other side; "": it has none. */
  readonly address: string;
  /** The other side's certificate, where it has proved that it is its owner. */
  readonly certificate: Certificate | undefined;
  /** The user as whom the other side comes, where the operator vouches for it and it has no way to log in. */
  readonly user?: string | undefined;
  /** The state of a device that the connection is for; undefined: it is for none that sleeps. */
  readonly deviceState?: DeviceState | undefined;
  /** The protocol of that device. */
  readonly deviceProtocol?: DeviceProtocol | undefined;
  /** The memory of what waits in it for the other side, in bytes, about; undefined: the kernel has all of it. */
  readonly memoryBytes?: number;
  /** True if the certificate stands in a list of revoked ones by now. Only where such lists are asked. */
  readonly isRevoked?: boolean;
  /** True if it is the broker's own, for a user of the API who has logged in there: the access list does not hold. */
  readonly isTrusted?: boolean;
  /** Hands bytes to the kernel and returns how many it took; the rest must be given again after `drained`. */
  write(bytes: Uint8Array, start: number, end: number): number;
  /** Stops and restarts reading: back-pressure that the peer feels. */
  pause(): void;
  resume(): void;
  /**
   * Has the kernel ask the other side now and then whether it is there, and close if not: who does not read sees no
   * end. Only where the transport is the kernel's.
   */
  probe?(): void;
  /** Closes after what was written has been sent. */
  close(): void;
  /** Closes at once. */
  abort(): void;
}

/**
 * The events by which a listener or dialer tells the owner of its connections. `Owner` is whatever `opened` returned.
 */
export interface TransportEvents<Owner> {
  opened(transport: Transport): Owner;
  received(owner: Owner, bytes: Uint8Array): void;
  drained(owner: Owner): void;
  closed(owner: Owner, error: string | undefined): void;
}

/**
 * Returns the same events, but an exception in them ends the process. Bun gives what a handler throws to the socket's
 * own `error`, as if the network had failed.
 */
export function loudly<Owner>(events: TransportEvents<Owner>): TransportEvents<Owner> {
  return {
    opened(transport) {
      try {
        return events.opened(transport);
      } catch (error) {
        crash(error);
        throw error;
      }
    },
    received: (owner, bytes) => orCrash(() => events.received(owner, bytes)),
    drained: (owner) => orCrash(() => events.drained(owner)),
    closed: (owner, error) => orCrash(() => events.closed(owner, error)),
  };
}

/** A transport over another one, which does all that it does not do itself. */
export class Over implements Transport {
  readonly inner: Transport;

  constructor(inner: Transport) {
    this.inner = inner;
  }

  get remote(): string {
    return this.inner.remote;
  }

  get address(): string {
    return this.inner.address;
  }

  get certificate(): Certificate | undefined {
    return this.inner.certificate;
  }

  get isRevoked(): boolean {
    return this.inner.isRevoked ?? false;
  }

  write(bytes: Uint8Array, start: number, end: number): number {
    return this.inner.write(bytes, start, end);
  }

  pause(): void {
    this.inner.pause();
  }

  resume(): void {
    this.inner.resume();
  }

  probe(): void {
    this.inner.probe?.();
  }

  close(): void {
    this.inner.close();
  }

  abort(): void {
    this.inner.abort();
  }
}

export type TlsVersion = "1.2" | "1.3";

/** How to speak TLS to the other side: PEM texts. Without `ca` the system's authorities are trusted. */
export interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Opens `key`, where that is encrypted. */
  readonly passphrase?: string;
  /** The name that the other side's certificate must bear; the host's by default. */
  readonly serverName?: string;
  /**
   * Believes any name in a certificate that `ca` has signed; without `ca`, whoever answers. For tests of a network, not
   * for use.
   */
  readonly isInsecure?: boolean;
  /** OpenSSL's list. */
  readonly ciphers?: string;
  /** The only TLS version to speak. */
  readonly version?: TlsVersion;
  /** The protocol to be agreed on (ALPN). */
  readonly protocol?: string;
}

/** The certificate is valid, and another host's. */
const otherName = "ERR_TLS_CERT_ALTNAME_INVALID";

/** True if the other side is spoken to although its certificate was not found valid. */
export function believes({ isInsecure = false, ca }: TlsOptions, error: Error): boolean {
  return isInsecure && (ca === undefined || (error as { code?: string }).code === otherName);
}
