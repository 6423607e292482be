/** The broker with its doors open: sockets, the embedded store, the clock. */
import { createHmac } from "node:crypto";
import type { Access } from "../access/access.ts";
import { networkOf } from "../access/bans.ts";
import { type Alarm, setAlarm } from "../base/alarm.ts";
import { orCrash } from "../base/assert.ts";
import { systemClock, threadCpuMs } from "../base/clock.ts";
import type { OperatingError } from "../base/errors.ts";
import { shutdownWaitMs } from "../base/limits.ts";
import { LineLimit, standingFor } from "../base/line-limit.ts";
import type { Log } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import { subjectOf, TurnWatch } from "../base/turn-watch.ts";
import { Broker } from "../broker/broker.ts";
import type { BrokerOptions } from "../broker/core/options.ts";
import type { ProcessMemory } from "../broker/core/process-memory.ts";
import { Connection, type ListenerName } from "../broker/delivery/connection.ts";
import { sharedText } from "../broker/peers/membership.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { linkSecretPath } from "../coordinator/paths.ts";
import { EmbeddedCoordinator } from "../embedded/embedded-coordinator.ts";
import { inPieces } from "../net/in-pieces.ts";
import type { TlsIdentity } from "../net/tls.ts";
import type { TransportEvents } from "../net/transport.ts";
import { Turn } from "../net/writer.ts";
import { systemDoors } from "../zookeeper/options.ts";
import { ZooKeeperCoordinator } from "../zookeeper/zookeeper-coordinator.ts";
import { followBans } from "./admin-bans.ts";
import type { ApiDoor, ApiDoorParts, OptionSources } from "./api-door.ts";
import { CertificateWatch, type ShownCertificates } from "./certificate-watch.ts";
import { watchLag } from "./event-loop-lag.ts";
import { Health } from "./health.ts";
import { type HttpDoor, openHttp } from "./http-door.ts";
import { LinkCertificates, linkDialler, listenForLinks } from "./link-doors.ts";
import {
  checkDoors,
  type Listeners,
  lookForOthers,
  type OpenedFor,
  openAccess,
  openIdentity,
  openListeners,
  type Ports,
} from "./listeners.ts";
import { Liveness } from "./liveness.ts";
import { familiesOf } from "./metric-families.ts";
import { OperatorFiles, readKeeperFiles, readSecret } from "./operator-files.ts";
import type { Telemetry } from "./otlp.ts";
import { processMemory, withinMemory } from "./process-memory.ts";
import { openServiceManager, type Service } from "./service-manager.ts";
import { openSnDoor, type SnDoor } from "./sn-door.ts";
import { openToolSocket } from "./tool-socket.ts";

/** A broker that runs with its doors open. */
export interface Server {
  /** The TCP port that is listened on, as it is where the options said 0 (any); -1: none. */
  readonly port: number;
  readonly ports: Ports;
  /** MQTT-SN's door; undefined: there is none. */
  readonly sn: SnDoor | undefined;
  readonly broker: Broker;
  /** Reads the operator's files again. Resolves when that is done. */
  reload(): Promise<void>;
  /** Ends in order: clients are sent to other brokers or disconnected, and the store is flushed. */
  stop(): Promise<void>;
}

/** The tree's root on a ZooKeeper for which the operator gave no chroot. */
const defaultChroot = "/mqttzoo";

/** Starts a broker. Rejects with `OperatingError` if, say, a port is in use or a folder cannot be written. */
export async function startServer(options: BrokerOptions, log: Log, sources: OptionSources = {}): Promise<Server> {
  checkDoors(options);
  await lookForOthers(options);
  const health = new Health();
  const service = await openServiceManager(health, log);
  const files = new OperatorFiles(log);
  // Probes are answered first: it may take a while until the store can be reached.
  const api = await openApi({ options, sources, files, log, health });
  const server: Started = { broker: undefined };
  const identity = openIdentity(options, files, { log, changed: () => accessChanged(server) });
  const http = options.httpPort === 0 ? undefined : await openHttp(options, { health, api, identity, files, log });
  try {
    const memory = processMemory(options.maxMemory);
    const telemetry = await openOtlp(options, log);
    const parts = { server, identity, health, http, memory, files, api, telemetry };
    const served = await serve(withinMemory(options, memory), log, parts);
    return service === undefined ? served : supervised(served, service, options);
  } catch (error) {
    service?.close();
    http?.close();
    api.close();
    files.close();
    throw error;
  }
}

/** Tells the service manager that clients may come, and whatever becomes of the broker then. */
function supervised(server: Server, { manager, close }: Service, { drainTime }: BrokerOptions): Server {
  manager.ready(`clients may come, at port ${server.port}`);
  return {
    ...server,
    reload: () => manager.reloading(server.reload()),
    stop: async () => {
      manager.stopping(drainTime * 1000);
      await server.stop();
      close();
    },
  };
}

async function serve(options: BrokerOptions, log: Log, serving: Serving): Promise<Server> {
  const { server, identity, health, http, memory, files, api, telemetry } = serving;
  const access = openAccess(options, files, {
    changed: () => accessChanged(server),
    warn: (why) => log.warn(why),
    decoySecret: () => server.decoySecret,
  });
  const turns = new TurnWatch({ clock: systemClock, cpuMs: threadCpuMs, log });
  const coordinator = await openCoordinator(options, log, turns);
  const beat = watchLife(coordinator, health, log);
  const turn = newTurn(options, turns);
  const certificates = new LinkCertificates(options, files, coordinator);
  const linkListener = options.zk === "" ? undefined : await listenForLinks(options, { server, turn, certificates });
  const shown = followCertificates(() => ({ tls: identity, linkTls: certificates.used }), { files, log });
  const secret = await secretOf(options, coordinator, access);
  server.decoySecret = decoySecretOf(secret);
  const broker = await Broker.start({
    options: { ...options, linkPort: linkListener?.port ?? options.linkPort },
    coordinator,
    log,
    turn,
    turns,
    clock: systemClock,
    random: systemRandom,
    memory,
    spans: telemetry?.spans,
    dialLink: linkDialler(server, certificates),
    answerQuestion: (...question) => api.answerPeer(...question),
    linkSecret: options.zk === "" ? undefined : secret,
    access,
    fatal: (error) => end(error, log),
  });
  server.broker = broker;
  health.started(broker.context);
  const linkIdentity = (): TlsIdentity | undefined => certificates.used;
  api.started(broker, { identity, linkIdentity, events: clientEvents(broker, turn, "") });
  startMetrics(broker, serving, shown);
  const toolSockets = options.zk === "" ? openToolSockets(options, coordinator, { api, log }) : undefined;
  const alarm = setAlarm(
    { nextDeadline: () => broker.nextDeadline(), tick: () => broker.handle({ kind: "tick" }) },
    systemClock,
  );
  broker.onSooner(() => alarm.wake());
  const served = { ...clientDoors(broker, turn), identity };
  const { listeners, snDoor } = await openDoors(options, served, { files, broker, beat });
  for (const teller of [http, api, telemetry]) teller?.opened(snDoor);
  const { ports, told } = listeners;
  if (told !== options.port) broker.listening(told);
  const stop = async (): Promise<void> => {
    files.close();
    beat.stop();
    listeners.close();
    await new Promise<void>((done) => broker.handle({ kind: "drain", done }));
    for (const door of [linkListener, toolSockets, http, api]) door?.close();
    const flushed = new Promise<void>((resolve) => {
      const close = (): void => broker.context.journal.drained(() => coordinator.close(resolve));
      broker.handle({ kind: "shutdown", done: close });
    });
    await Promise.race([flushed, Bun.sleep(shutdownWaitMs)]);
    snDoor?.close();
    await telemetry?.close();
  };
  let stopped: Promise<void> | undefined;
  const stopOnce = (): Promise<void> => {
    stopped ??= stop();
    return stopped;
  };
  return { port: ports.tcp, ports, sn: snDoor, broker, stop: stopOnce, reload: () => files.reload() };
}

/** Opens the sockets for tools beside a broker that runs alone: to its store, and to the API. */
function openToolSockets(
  { data }: BrokerOptions,
  coordinator: Coordinator,
  { api, log }: { readonly api: ApiDoor; readonly log: Log },
): { close(): void } {
  const sockets = [openToolSocket(data, coordinator, log), api.openSocket(data)];
  return {
    close: () => {
      for (const socket of sockets) socket.close();
    },
  };
}

/** The rest of what is written in a turn, as a turn's subject. */
const flushing = subjectOf("output to many clients");

function newTurn({ maxQueueMemory }: BrokerOptions, turns: TurnWatch): Turn {
  return new Turn((flush) => void setImmediate(() => turns.run(flushing, flush)), maxQueueMemory, systemClock);
}

/** Opens the listeners, for those who are not banned for good. Rejects with `OperatingError`; the broker ends then. */
async function openDoors(
  options: BrokerOptions,
  served: OpenedFor<Connection>,
  { files, broker, beat }: { readonly files: OperatorFiles; readonly broker: Broker; readonly beat: Alarm },
): Promise<{ readonly listeners: Listeners; readonly snDoor: SnDoor | undefined }> {
  try {
    followBans(options, files, broker);
    const snDoor = await openSnDoor(options, { broker, files, events: served.events("sn") });
    return { listeners: openListeners(options, served), snDoor };
  } catch (error) {
    beat.stop();
    await new Promise<void>((resolve) => broker.context.coordinator.close(resolve));
    throw error;
  }
}

/** Returns what listeners do for clients, and with those whose PROXY headers are not believed: counted, some logged. */
function clientDoors(broker: Broker, turn: Turn): Pick<OpenedFor<Connection>, "events" | "untrusted"> {
  const { metrics, log, clock } = broker.context;
  const lines = new LineLimit<"proxy">();
  const untrusted = (address: string): void => {
    metrics.turnedAway.proxy++;
    const stands = lines.take("proxy", clock.now(), networkOf(address));
    const message = "a connection is refused: PROXY headers are believed from --proxy-from alone";
    if (stands > 0) log.warn({ address }, standingFor(message, stands));
  };
  return { events: (listener) => clientEvents(broker, turn, listener), untrusted };
}

/** Has the store's state logged, and starts the check of progress that `/livez` tells of. */
function watchLife(coordinator: Coordinator, health: Health, log: Log): Alarm {
  coordinator.onState((state, why) => {
    if (state === "CONNECTED") log.info("the store works again");
    else log.error({ state, why }, "the store cannot write; what needs it waits, unacknowledged");
  });
  const liveness = new Liveness(coordinator, systemClock);
  health.opened(liveness);
  return setAlarm(liveness, systemClock);
}

/** The broker, once it has started, and what is known only then. */
interface Started {
  broker: Broker | undefined;
  decoySecret?: Uint8Array;
}

function accessChanged({ broker }: Started): void {
  broker?.handle({ kind: "accessChanged" });
}

interface Serving {
  readonly server: Started;
  readonly identity: TlsIdentity | undefined;
  readonly health: Health;
  readonly http: HttpDoor | undefined;
  readonly memory: ProcessMemory | undefined;
  readonly files: OperatorFiles;
  readonly api: ApiDoor;
  /** The way to an OpenTelemetry collector; undefined: there is none. */
  readonly telemetry: Telemetry | undefined;
}

/** Starts to send to an OpenTelemetry collector, if there is one: nothing of it is loaded else. */
async function openOtlp(options: BrokerOptions, log: Log): Promise<Telemetry | undefined> {
  if (options.otlp === "") return undefined;
  const { openTelemetry } = await import("./otlp.ts");
  return openTelemetry(options, { log, clock: systemClock, random: systemRandom });
}

/** Tells the broker's metrics to whoever wants them. */
function startMetrics(
  broker: Broker,
  { http, telemetry }: Pick<Serving, "http" | "telemetry">,
  shown: () => ShownCertificates,
): void {
  if (http === undefined && telemetry === undefined) return;
  watchLag(broker.context);
  const families = familiesOf(broker, shown());
  http?.started(broker, [...families, ...(telemetry?.families ?? [])]);
  telemetry?.add(families);
}

/** Opens the API, for HTTP and for other brokers. Rejects with `OperatingError` if a file of its is wrong. */
async function openApi(parts: ApiDoorParts): Promise<ApiDoor> {
  const { ApiDoor } = await import("./api-door.ts");
  return new ApiDoor(parts);
}

/** Tells the operator, as often as his files are looked at, of certificates that end. Returns `shown`. */
function followCertificates(
  shown: () => ShownCertificates,
  { files, log }: { readonly files: OperatorFiles; readonly log: Log },
): () => ShownCertificates {
  const clients = new CertificateWatch({ log, clock: systemClock, shownTo: "clients" });
  const brokers = new CertificateWatch({ log, clock: systemClock, shownTo: "other brokers" });
  const look = (): void => {
    const { tls, linkTls } = shown();
    clients.look(tls);
    brokers.look(linkTls);
  };
  look();
  files.alongside(look);
  return shown;
}

/** Returns the handlers of clients' sockets: each makes an event of the broker. */
export function clientEvents(broker: Broker, turn: Turn, listener: ListenerName | ""): TransportEvents<Connection> {
  const drained = (connection: Connection): void => broker.handle({ kind: "drained", connection });
  return {
    opened(transport) {
      const connection = new Connection(transport, turn, drained);
      connection.listener = listener;
      broker.handle({ kind: "opened", connection });
      return connection;
    },
    received(connection, bytes) {
      broker.handle({ kind: "received", connection, bytes });
    },
    drained,
    closed(connection, why) {
      broker.handle({ kind: "closed", connection, why });
    },
  };
}

/** The store's answers, as a turn's subject. */
const answers = subjectOf("answers of the store");

/** Opens the store: the embedded one, or ZooKeeper. Rejects with `OperatingError`. */
function openCoordinator(options: BrokerOptions, log: Log, turns: TurnWatch): Promise<Coordinator> {
  if (options.zk === "") {
    return EmbeddedCoordinator.open(options.data, {
      acceptDamage: options.acceptDamage,
      report: (words) => log.warn(words),
      foundDamaged: (words) => log.error(words),
      inTurn: (go) => turns.run(answers, go),
    });
  }
  return ZooKeeperCoordinator.open({
    connect: options.zk.includes("/") ? options.zk : `${options.zk}${defaultChroot}`,
    id: options.id,
    sessionTimeoutMs: options.zkSessionTimeout * 1000,
    connectTimeoutMs: options.zkWait * 1000,
    ...readKeeperFiles(options),
    onFatal: (error) => end(error, log),
    doors: {
      ...systemDoors,
      dial: (server, events, how) =>
        systemDoors.dial(
          server,
          inPieces(events, {
            now: () => systemClock.now(),
            later: (go) => void setImmediate(() => orCrash(go)),
            run: (go) => turns.run(answers, go),
          }),
          how,
        ),
    },
  });
}

/**
 * Returns the cluster's secret, which brokers prove to each other to know: the operator's, or one in the tree, which
 * everybody who may write the tree may read. Rejects with `OperatingError`.
 */
async function secretOf(
  { zk, linkSecretFile }: BrokerOptions,
  coordinator: Coordinator,
  access: Access | undefined,
): Promise<string> {
  const own = readSecret(linkSecretFile);
  if (own !== undefined) return own;
  const fresh = systemRandom.hex(32);
  // A broker alone that has no users needs none that outlives it.
  return zk === "" && access === undefined ? fresh : await sharedText(coordinator, linkSecretPath, () => fresh);
}

/** Derives the secret by which users that are not there are made up: it says nothing of the one for links. */
function decoySecretOf(secret: string): Uint8Array {
  return createHmac("sha256", secret).update("users that are not there").digest();
}

/** Ends the process: the broker cannot go on. What it has not acknowledged its clients send again, to another one. */
function end(error: OperatingError, log: Log): never {
  log.fatal(error.message);
  process.exit(1);
}
