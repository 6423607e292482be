/**
 * The doors between brokers: where links are accepted, and how they are dialled. Over TLS both sides show a certificate
 * that the operator's authority has signed, or the one that all brokers of the cluster keep in the tree.
 */
import { systemClock } from "../base/clock.ts";
import { messageOf, OperatingError } from "../base/errors.ts";
import { linkHandshakeMs } from "../base/limits.ts";
import { systemRandom } from "../base/random.ts";
import type { Broker } from "../broker/broker.ts";
import type { BrokerOptions } from "../broker/core/options.ts";
import { type DialLink, LinkConnection, type LinkEndpoint } from "../broker/peers/link-connection.ts";
import { sharedText } from "../broker/peers/membership.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { linkCertificatePath } from "../coordinator/paths.ts";
import { makeSelfSigned } from "../net/self-signed.ts";
import { dialTcp, type Listener, listenTcp } from "../net/tcp.ts";
import { type TlsFiles, TlsIdentity } from "../net/tls.ts";
import type { TlsOptions, TransportEvents } from "../net/transport.ts";
import type { Turn } from "../net/writer.ts";
import type { OperatorFiles } from "./operator-files.ts";

/** The name in the certificate that brokers keep in the tree, and for how long it is valid, in years. */
const sharedName = "mqttzoo-link";
const sharedYears = 50;
/** The name of the protocol there (ALPN), so that no other service of the same authority is taken for a broker. */
const protocol = "mqttzoo-link";

/** The broker, as soon as it has started. */
interface Started {
  readonly broker: Broker | undefined;
}

/** The certificate that this broker shows to others, and by which it knows them. */
export class LinkCertificates {
  readonly #coordinator: Coordinator;
  readonly #hasFiles: boolean;
  /** Follows the operator's files; from the tree: read when it is needed. */
  #identity: TlsIdentity | undefined;
  #texts: TlsFiles | undefined;

  /** Throws `OperatingError` if files are missing, cannot be read or do not belong together. */
  constructor({ linkTlsCert, linkTlsKey, linkTlsCa }: BrokerOptions, files: OperatorFiles, coordinator: Coordinator) {
    this.#coordinator = coordinator;
    const paths = [linkTlsCert, linkTlsKey, linkTlsCa];
    this.#hasFiles = paths.some((path) => path !== "");
    if (!this.#hasFiles) return;
    if (paths.includes(""))
      throw new OperatingError("EUSAGE", "--link-tls-cert, --link-tls-key and --link-tls-ca go together");
    files.follow(paths, ([cert, key, ca]) => this.#use({ cert: cert!, key: key!, ca }));
  }

  /** The certificate that is in use; undefined: none has been needed yet. */
  get used(): TlsIdentity | undefined {
    return this.#identity;
  }

  /** Returns what a listener shows. Rejects with `OperatingError`. */
  async identity(): Promise<TlsIdentity> {
    if (this.#identity === undefined) await this.#readShared();
    return this.#identity!;
  }

  /** Returns what is shown to a broker that is dialled, and by what it is known. Rejects with `OperatingError`. */
  async dialling(host: string): Promise<TlsOptions> {
    await this.identity();
    const { cert, key, ca } = this.#texts!;
    const serverName = this.#hasFiles ? host : sharedName;
    return { cert, key, ...(ca === undefined ? {} : { ca }), serverName, version: "1.3", protocol };
  }

  async #readShared(): Promise<void> {
    const make = async (): Promise<string> => {
      const { cert, key } = await makeSelfSigned(sharedName, systemClock.wall(), sharedYears);
      return cert + key;
    };
    const text = await sharedText(this.#coordinator, linkCertificatePath, make);
    const [cert = "", key = ""] = text.split(/(?=-----BEGIN PRIVATE KEY-----)/);
    try {
      this.#use({ cert, key, ca: cert });
    } catch (error) {
      const instead = "delete that znode, and brokers make another one at their next start";
      throw new OperatingError("ESTORE", `${linkCertificatePath} in the tree: ${messageOf(error)}; ${instead}`);
    }
  }

  #use(texts: TlsFiles): void {
    if (this.#identity === undefined)
      this.#identity = new TlsIdentity(texts, { clientCertificates: "require", versionMin: "1.3" });
    else this.#identity.change(texts);
    this.#texts = texts;
  }
}

/**
 * Listens for other brokers. A connection that comes before this broker is ready is closed, and dialled again. Rejects
 * with `OperatingError`.
 */
export async function listenForLinks(
  { linkHost, linkPort, linkTls }: BrokerOptions,
  { server, turn, certificates }: { server: Started; turn: Turn; certificates: LinkCertificates },
): Promise<Listener> {
  const tls = linkTls ? { identity: await certificates.identity(), protocol } : undefined;
  const events: TransportEvents<LinkConnection> = {
    ...linkEvents(server),
    opened(transport) {
      const nonce = systemRandom.hex(16);
      const connection = new LinkConnection(transport, turn, { dialled: false, nonce, drained: events.drained });
      if (server.broker === undefined) transport.abort();
      else server.broker.handle({ kind: "linkOpened", connection });
      return connection;
    },
  };
  return listenTcp(linkHost, linkPort, events, { tls, flag: "--link-port" });
}

/** Returns how links are dialled: over TLS where the other broker accepts nothing else. */
export function linkDialler(server: Started, certificates: LinkCertificates): DialLink {
  return (endpoint, how) => void dial(endpoint, how, { server, certificates });
}

async function dial(
  { host, port, isTls }: LinkEndpoint,
  { opened, failed }: Parameters<DialLink>[1],
  { server, certificates }: { server: Started; certificates: LinkCertificates },
): Promise<void> {
  const events: TransportEvents<LinkConnection> = {
    ...linkEvents(server),
    opened(transport) {
      const connection = opened(transport, events.drained);
      // The owner must be known before its first event.
      queueMicrotask(() => server.broker?.handle({ kind: "linkOpened", connection }));
      return connection;
    },
  };
  try {
    const tls = isTls ? await certificates.dialling(host) : undefined;
    await dialTcp(host, port, events, { tls, handshakeMs: linkHandshakeMs });
  } catch (error) {
    failed(messageOf(error));
  }
}

function linkEvents(server: Started): Omit<TransportEvents<LinkConnection>, "opened"> {
  return {
    received: (connection, bytes) => server.broker?.handle({ kind: "linkReceived", connection, bytes }),
    drained: (connection) => server.broker?.handle({ kind: "linkDrained", connection }),
    closed: (connection, why) => server.broker?.handle({ kind: "linkClosed", connection, why }),
  };
}
