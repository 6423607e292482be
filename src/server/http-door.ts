/**
 * The HTTP door: probes, metrics, the API, the dashboard, and what is administered with the operator's token. With
 * `--http-tls` it shows the broker's certificate, and the new one once that is renewed.
 */
import { messageOf, OperatingError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Broker } from "../broker/broker.ts";
import type { BrokerOptions } from "../broker/core/options.ts";
import { type Answer, type HttpServer, type Question, serveHttp } from "../net/http.ts";
import type { TlsIdentity } from "../net/tls.ts";
import { administrate } from "./admin-api.ts";
import type { ApiDoor } from "./api-door.ts";
import { DashboardDoor } from "./dashboard-door.ts";
import type { Health } from "./health.ts";
import type { Family } from "./metric-families.ts";
import { type OperatorFiles, readSecret } from "./operator-files.ts";
import type { SnDoor } from "./sn-door.ts";

export interface HttpDoor {
  /** Answers by the broker from now on; `/metrics` with these metrics. */
  started(broker: Broker, families: readonly Family[]): void;
  opened(snDoor: SnDoor | undefined): void;
  close(): void;
}

/** The parts of the process that HTTP tells of, and those that it needs. */
export interface HttpParts {
  readonly health: Health;
  readonly api: ApiDoor;
  /** The broker's certificate; undefined: it has none. */
  readonly identity: TlsIdentity | undefined;
  readonly files: OperatorFiles;
  readonly log: Log;
}

/** The methods that all but the API and what is administered know, as `Allow` names them. */
const methods = "GET, HEAD, OPTIONS";

/**
 * Opens the HTTP server: probes are answered at once, metrics and changes when the broker has started. Rejects with
 * `OperatingError`.
 */
export async function openHttp(options: BrokerOptions, parts: HttpParts): Promise<HttpDoor> {
  const { httpHost, httpPort, httpTokenFile, httpTls } = options;
  const { health, api, identity, files, log } = parts;
  const { PrometheusMetrics } = await import("./prometheus.ts");
  const token = readSecret(httpTokenFile);
  const dashboard = new DashboardDoor();
  let prometheus: InstanceType<typeof PrometheusMetrics> | undefined;
  let broker: Broker | undefined;
  const answer = async (question: Question): Promise<Answer> => {
    const { method, path } = question;
    const answered = api.answer(question);
    if (answered !== undefined) return answered;
    const changed = broker && administrate(question, broker, token);
    if (changed !== undefined) {
      api.noteChange(question, changed);
      return changed;
    }
    const shown = await dashboard.answer(question);
    if (shown !== undefined) return shown;
    // HAProxy's `option httpchk` asks so unless it is told otherwise, and takes 405 for a server that is down.
    if (method === "OPTIONS") return { status: 204, type: "text/plain", body: "", headers: { allow: methods } };
    if (method !== "GET" && method !== "HEAD")
      return { status: 405, type: "text/plain", body: `only ${methods}\n`, headers: { allow: methods } };
    if (path === "/metrics" && prometheus !== undefined)
      return { status: 200, type: prometheus.contentType, body: await prometheus.text() };
    const missing = {
      status: 404,
      type: "text/plain",
      body: "there are /, /livez, /readyz, /startupz, /metrics and /api/v1\n",
    };
    return health.answer(path) ?? missing;
  };
  const tls = httpTls ? identity : undefined;
  const http = serveHttp({ host: httpHost, port: httpPort, tls }, answer);
  if (tls !== undefined) files.alongside(() => renew(http, log));
  return {
    started(started, families) {
      broker = started;
      prometheus = new PrometheusMetrics(families);
    },
    opened(snDoor) {
      if (snDoor !== undefined) prometheus?.addGateway(snDoor.gateway);
    },
    close: () => http.close(),
  };
}

/** Has a certificate shown that has been renewed. If the port cannot be opened again, it is tried as often as this. */
function renew(http: HttpServer, log: Log): void {
  try {
    http.renew();
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    log.error({ why: messageOf(error) }, "HTTP is not answered until the port can be opened with the new certificate");
  }
}
