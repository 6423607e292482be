/** The API's door: HTTP requests below `/api/v1`, its users' file, and the file of its audit log. */

import { actingOperations } from "../api/acting.ts";
import { Api } from "../api/api.ts";
import { AuditLog } from "../api/audit-log.ts";
import { bankOperations } from "../api/bank.ts";
import { eventBeat, eventOperations, lastEvent } from "../api/events.ts";
import { explainOperations } from "../api/explain.ts";
import { byToken, People } from "../api/people.ts";
import { readingOperations } from "../api/reading.ts";
import type { OptionRow } from "../api/rows.ts";
import { traceOperations } from "../api/trace.ts";
import { watchOperation } from "../api/watch.ts";
import { type Alarm, setAlarm } from "../base/alarm.ts";
import { systemClock } from "../base/clock.ts";
import { messageOf, OperatingError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import { Timer } from "../base/timers.ts";
import type { Broker } from "../broker/broker.ts";
import type { BrokerOptions } from "../broker/core/options.ts";
import { version } from "../broker/core/version.ts";
import type { Connection } from "../broker/delivery/connection.ts";
import { type Answer, type Question, serveHttpOnSocket } from "../net/http.ts";
import type { TlsIdentity } from "../net/tls.ts";
import type { DeviceProtocol, TransportEvents } from "../net/transport.ts";
import { actionsOf } from "./api-actions.ts";
import { apiSocketPath } from "./api-client.ts";
import { StoreWalks } from "./api-store.ts";
import { viewOf } from "./api-view.ts";
import type { Health } from "./health.ts";
import { History } from "./history.ts";
import { appendLine, type OperatorFiles, readSecret } from "./operator-files.ts";
import type { SnDoor } from "./sn-door.ts";

const base = "/api/v1";

/** Where options came from, by their long names. */
export type OptionSources = Readonly<Record<string, OptionRow["source"]>>;

export interface ApiDoorParts {
  readonly options: BrokerOptions;
  /** Where each option came from; empty: that is not known. */
  readonly sources: OptionSources;
  readonly files: OperatorFiles;
  readonly log: Log;
  readonly health: Health;
}

/** The parts of the process that are there when the broker has started. */
export interface ServedByApi {
  /** The broker's certificate; undefined: it has none. */
  readonly identity: TlsIdentity | undefined;
  /** Returns the certificate that other brokers are shown; undefined: links are without TLS. */
  readonly linkIdentity: () => TlsIdentity | undefined;
  /** The handlers of clients' sockets, for a client of the broker's own. */
  readonly events: TransportEvents<Connection>;
}

/** The API behind HTTP. */
export class ApiDoor {
  readonly #parts: ApiDoorParts;
  readonly #api: Api;
  readonly #log: AuditLog;
  readonly #startedAt = systemClock.wall();
  #lostProtocol: (clientId: string) => DeviceProtocol | undefined = () => undefined;
  #sampling: Alarm | undefined;

  /** Throws `OperatingError` if the users' file is wrong, or the audit log cannot be written. */
  constructor(parts: ApiDoorParts) {
    this.#parts = parts;
    const { options, files } = parts;
    const { httpUsers, httpTokenFile, auditLog, banAfter, banTime } = options;
    const people = new People({
      clock: systemClock,
      random: systemRandom,
      token: readSecret(httpTokenFile),
      banPolicy: { failures: banAfter, ms: banTime * 1000 },
    });
    if (httpUsers !== "") files.follow([httpUsers], ([text]) => people.load(text!));
    if (auditLog !== "") appendLine(auditLog, "");
    const audit = new AuditLog((line) => this.#audit(line));
    this.#log = audit;
    const operations = [
      ...readingOperations,
      ...bankOperations,
      ...eventOperations(systemClock),
      ...traceOperations(systemRandom, systemClock),
      ...explainOperations,
      watchOperation(systemClock),
      ...actingOperations(people, audit),
    ];
    this.#api = new Api({ operations, people, audit, clock: systemClock, version });
  }

  /** Notes that the broker has started. */
  started(broker: Broker, { identity, linkIdentity, events }: ServedByApi): void {
    const { sources, health } = this.#parts;
    const startedAt = this.#startedAt;
    const history = new History(broker.context, systemClock);
    this.#sampling = setAlarm(history, systemClock);
    const walks = new StoreWalks(broker);
    const options = optionRows(this.#parts.options, sources);
    this.#api.serve({
      reading: viewOf({
        ...{ broker, health, history, identity, linkIdentity, startedAt, walks, options },
        watching: { events, random: systemRandom },
        lostProtocol: (clientId) => this.#lostProtocol(clientId),
      }),
      acting: actionsOf(broker, walks),
      others: {
        list: () => broker.questions.others,
        ask: (...question) => broker.questions.ask(...question),
      },
      run: (work, done) => broker.context.slices.run(work, done),
      later: (ms, go) => laterOf(broker, ms, go),
    });
  }

  /** Notes the door of MQTT-SN, which knows the devices that are lost. */
  opened(snDoor: SnDoor | undefined): void {
    if (snDoor !== undefined) this.#lostProtocol = (clientId) => snDoor.gateway.lostProtocol(clientId);
  }

  /** Takes no samples any more. */
  close(): void {
    this.#sampling?.stop();
  }

  /** Answers what another broker passes on. */
  answerPeer(question: string, done: (answer: string) => void): void {
    this.#api.answerPeer(question, done);
  }

  /** Opens the socket for tools on the same machine. If it cannot be opened the broker goes on without. */
  openSocket(folder: string): { close(): void } {
    const missing = { status: 404, type: "text/plain", body: `there is ${base}\n` };
    const answer = async (question: Question): Promise<Answer> => this.answer(question, true) ?? missing;
    try {
      return serveHttpOnSocket(apiSocketPath(folder), answer);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#parts.log.warn({ why: messageOf(error) }, "tools on this machine cannot ask this broker");
      return { close() {} };
    }
  }

  /** Answers a request, of the owner where it has come over his socket; undefined if its path is not the API's. */
  answer({ method, path, query, body, address, header }: Question, isOwner = false): Promise<Answer> | undefined {
    if (path !== base && !path.startsWith(`${base}/`)) return undefined;
    const request = { method, path: path.slice(base.length), query, body, address, header, isOwner };
    return new Promise((resolve) =>
      this.#api.handle(request, ({ stream, ...answer }) => {
        const goesOn = stream && { open: stream.open, bytesMax: stream.bytesMax, beat: eventBeat, last: lastEvent };
        resolve({ ...answer, stream: goesOn });
      }),
    );
  }

  /** Notes a change that was made without the API, with the operator's token. */
  noteChange({ method, path, address, body }: Question, { status }: Answer): void {
    // Strangers change nothing, and must not fill the log.
    if (method === "GET" || status === 401 || status === 403) return;
    const at = new Date(systemClock.wall()).toISOString();
    const on = body === "" ? {} : { body };
    const what = `${method} ${path}`;
    this.#log.note({ at, who: byToken, from: address, what, on, status, before: null, after: null });
  }

  #audit(line: string): void {
    const { auditLog } = this.#parts.options;
    if (auditLog === "") return;
    try {
      appendLine(auditLog, `${line}\n`);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#parts.log.error({ change: line }, `a change is not in the audit log: ${messageOf(error)}`);
    }
  }
}

function laterOf({ context: { timers, clock } }: Broker, ms: number, go: () => void): () => void {
  const timer = new Timer(() => go());
  timers.set(timer, clock.now() + ms);
  return () => timers.cancel(timer);
}

function optionRows(options: BrokerOptions, sources: OptionSources): OptionRow[] {
  return Object.entries(options).map(([key, value]) => {
    const name = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    return { name, value: value as OptionRow["value"], source: sources[name] ?? "unknown" };
  });
}
