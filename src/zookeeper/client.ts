/**
 * A ZooKeeper client: a keeper session with its doors open. Operations take effect and are answered in their order, by
 * callback; `zookeeper.ts` has them as promises.
 */
import { encodeUtf8, noBytes } from "../base/bytes.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import { messageOf, OperatingError } from "../base/errors.ts";
import { systemRandom } from "../base/random.ts";
import { keeperPacketBytesMax } from "../base/store-limits.ts";
import type { TlsOptions, Transport } from "../net/transport.ts";
import { Turn, Writer } from "../net/writer.ts";
import { OpCode, ZooKeeperError } from "./codes.ts";
import { parseConnectString, type Server } from "./connect-string.ts";
import type { JuteReader, JuteWriter } from "./jute.ts";
import { KeeperSession, type KeeperState } from "./keeper-session.ts";
import { type KeeperDoors, systemDoors, type ZooKeeperOptions } from "./options.ts";
import {
  creatorAcl,
  decodeMulti,
  decodeMultiRead,
  decodeStat,
  decodeWrite,
  encodeMulti,
  encodeMultiRead,
  encodeWrite,
  type ReadRequest,
  type ReadResponse,
  type Stat,
  type View,
  type WriteRequest,
  type WriteResponse,
  writeType,
} from "./records.ts";
import type { KeeperEvent, WatchListener } from "./watches.ts";

export type Done<Result> = (error: ZooKeeperError | undefined, result: Result, zxid: number) => void;

/** persistent: a node and its children. recursive: a node and everything below it (ZooKeeper 3.6). */
export type WatchMode = "persistent" | "recursive";

export class ZooKeeperClient {
  readonly chroot: string;
  readonly #session: KeeperSession;
  readonly #tls: TlsOptions | undefined;
  /** How requests are written, and answers are read, for users who know nothing of the chroot. */
  readonly #view: View;
  readonly #clock: Clock;
  readonly #doors: KeeperDoors;
  readonly #alarm;
  readonly #turn = new Turn((flush) => queueMicrotask(flush));
  readonly #stateListeners: ((state: KeeperState, why: string | undefined) => void)[] = [];
  #transport: Transport | undefined;
  #writer: Writer | undefined;
  /** Counts dials: what an earlier one brings is nobody's any more. */
  #dial = 0;

  constructor(connectString: string, options: ZooKeeperOptions = {}) {
    const { servers, chroot } = parseConnectString(connectString);
    this.chroot = chroot;
    this.#tls = options.tls;
    this.#view = {
      full: (path) => this.#full(path),
      stripped: (path) => this.#stripped(path),
      acl: options.credentials === undefined ? undefined : creatorAcl,
    };
    this.#clock = options.clock ?? systemClock;
    this.#doors = options.doors ?? systemDoors;
    this.#session = new KeeperSession(
      {
        servers,
        sessionTimeoutMs: options.sessionTimeoutMs ?? 10_000,
        packetBytesMax: options.packetBytesMax ?? keeperPacketBytesMax,
        random: options.random ?? systemRandom,
      },
      {
        dial: (server) => this.#open(server),
        send: (packet) => this.#writer?.append(packet, 0, packet.length),
        hangUp: () => this.#hangUp(),
        stateChanged: (state, why) => {
          for (const listener of this.#stateListeners) listener(state, why);
        },
        sooner: () => this.#alarm?.wake(),
      },
    );
    if (options.credentials !== undefined) this.addAuth("digest", encodeUtf8(options.credentials));
    const tick = (): void => this.#session.tick(this.#clock.now());
    this.#alarm = this.#doors.setAlarm({ nextDeadline: () => this.#session.nextDeadline(), tick }, this.#clock);
  }

  /** Resolves when there is a session. Rejects with `OperatingError` that says what every server has said. */
  static connect(connectString: string, options: ZooKeeperOptions = {}): Promise<ZooKeeperClient> {
    const client = new ZooKeeperClient(connectString, options);
    const { promise, resolve, reject } = Promise.withResolvers<ZooKeeperClient>();
    const said = new Set<string>();
    let until = client.#clock.now() + (options.connectTimeoutMs ?? 10_000);
    const giveUp = (): void => {
      if (client.#clock.now() < until) return;
      until = Infinity;
      client.#session.close(() => {});
      client.#alarm.stop();
      const what = [...said].join("; ") || "no answer";
      reject(new OperatingError("EZOOKEEPER", `cannot reach ZooKeeper at ${connectString}: ${what}`));
    };
    const patience = client.#doors.setAlarm({ nextDeadline: () => until, tick: giveUp }, client.#clock);
    client.onState((state, why) => {
      if (why !== undefined) said.add(why);
      if (state !== "CONNECTED") return;
      patience.stop();
      resolve(client);
    });
    return promise;
  }

  get state(): KeeperState {
    return this.#session.state;
  }

  get sessionId(): bigint {
    return this.#session.sessionId;
  }

  get seenZxid(): number {
    return this.#session.seenZxid;
  }

  get leaseUntil(): number {
    return this.#session.leaseUntil;
  }

  onState(listener: (state: KeeperState, why: string | undefined) => void): void {
    this.#stateListeners.push(listener);
  }

  /** One write, or several that all happen or none. */
  submitWrite(requests: readonly WriteRequest[], done: Done<readonly WriteResponse[]>): void {
    const [only] = requests;
    const view = this.#view;
    if (requests.length === 1 && only!.kind !== "check") {
      this.#ask(
        {
          type: writeType(only!),
          path: view.full(only!.path),
          write: (to) => encodeWrite(to, only!, view),
          decode: (from): WriteResponse[] => [decodeWrite(from, only!, view)],
        },
        done,
      );
      return;
    }
    this.#ask(
      {
        type: OpCode.multi,
        path: only === undefined ? "" : view.full(only.path),
        write: (to) => encodeMulti(to, requests, view),
        decode: (from) => decodeMulti(from, requests, view),
      },
      done,
    );
  }

  /** Several reads of one state of the tree (ZooKeeper 3.6). */
  submitRead(requests: readonly ReadRequest[], done: Done<readonly ReadResponse[]>): void {
    const whole = requests.map((request) => ({ ...request, path: this.#full(request.path) }));
    this.#ask(
      {
        type: OpCode.multiRead,
        path: whole[0]?.path ?? "",
        write: (to) => encodeMultiRead(to, whole),
        decode: (from) => decodeMultiRead(from, whole),
      },
      done,
    );
  }

  /** Undefined if there is no such node. */
  submitExists(path: string, watch: WatchListener | undefined, done: Done<Stat | undefined>): void {
    const full = this.#full(path);
    const listener = this.#listener(watch);
    this.#ask(
      { type: OpCode.exists, path: full, write: pathAndWatch(full, watch), decode: decodeStat },
      (error, stat, zxid) => {
        const missing = error?.code === "NoNode";
        if (listener !== undefined && (error === undefined || missing)) {
          this.#session.watches.add(missing ? "exist" : "data", full, listener);
        }
        done(missing ? undefined : error, missing ? undefined : stat, zxid);
      },
    );
  }

  /**
   * The server has caught up with the leader when this is answered: reads after it see what was committed before it.
   */
  submitSync(done: Done<string>): void {
    const path = this.#full("/");
    this.#ask({ type: OpCode.sync, path, write: (to) => to.text(path), decode: (from) => from.text() }, done);
  }

  /** Watches until the returned function is called. After lost contact the listener is told `missed`. */
  watch(path: string, mode: WatchMode, listener: (event: KeeperEvent) => void): () => void {
    const full = this.#full(path);
    const kind = mode === "recursive" ? "persistentRecursive" : "persistent";
    const inner = this.#listener(listener)!;
    const known = this.#session.watches.has(kind, full);
    this.#session.watches.add(kind, full, inner);
    if (!known) {
      const write = (to: JuteWriter): JuteWriter => to.text(full).int(mode === "recursive" ? 1 : 0);
      this.#ask({ type: OpCode.addWatch, path: full, write, decode: () => {} }, (error) => {
        if (error?.code === "Unimplemented") this.#tooOld();
      });
    }
    return () => {
      if (!this.#session.watches.remove(kind, full, inner)) return;
      const write = (to: JuteWriter): JuteWriter => to.text(full).int(3);
      this.#ask({ type: OpCode.removeWatches, path: full, write, decode: () => {} }, () => {});
    };
  }

  /** Credentials for nodes with an access control list. */
  addAuth(scheme: string, credentials: Uint8Array): void {
    this.#session.addAuth(scheme, credentials);
  }

  /** Makes the chroot's nodes where they are missing. */
  ensureChroot(done: Done<void>, depth = 1): void {
    const levels = this.chroot.split("/").slice(1);
    if (depth > levels.length) return done(undefined, undefined, 0);
    const path = `/${levels.slice(0, depth).join("/")}`;
    const request = { kind: "create", path, data: noBytes, mode: "persistent" } as const;
    const view = { ...this.#view, full: () => path };
    this.#ask(
      { type: OpCode.create2, path, write: (to) => encodeWrite(to, request, view), decode: () => {} },
      (error) => {
        if (error !== undefined && error.code !== "NodeExists") return done(error, undefined, 0);
        this.ensureChroot(done, depth + 1);
      },
    );
  }

  /** Ends the session in order: what was asked before is answered, ephemeral nodes vanish. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#session.close(() => {
        this.#alarm.stop();
        resolve();
      });
    });
  }

  /** Vanishes without a word, as a crash would; for tests. */
  terminate(): void {
    this.#alarm.stop();
    this.#dial++;
    this.#transport?.abort();
  }

  /** Hangs up on a server that will not answer; after a while another one is asked, in the same session. */
  leave(why: string): void {
    this.#session.leave(why);
  }

  /** getData and getChildren with a watch that goes with its first event. */
  submitWatchedRead<Result>(
    { type, path, kind, decode }: WatchedRead<Result>,
    watch: WatchListener | undefined,
    done: Done<Result>,
  ): void {
    const full = this.#full(path);
    const listener = this.#listener(watch);
    this.#ask({ type, path: full, write: pathAndWatch(full, watch), decode }, (error, result, zxid) => {
      if (error === undefined && listener !== undefined) this.#session.watches.add(kind, full, listener);
      done(error, result, zxid);
    });
  }

  /** Any request of which the other ones are none; `write` is given the whole path. */
  submit<Result>(question: Question<Result>, done: Done<Result>): void {
    const full = this.#full(question.path);
    this.#ask({ ...question, path: full }, done);
  }

  #ask<Result>(question: Question<Result>, done: Done<Result>): void {
    const { type, path, write, decode } = question;
    this.#session.request({
      type,
      path,
      write: (to) => write(to, path),
      done: (error, reply, zxid) => {
        if (error !== undefined) return done(this.#inWords(error), undefined as Result, zxid);
        let result: Result;
        try {
          result = decode(reply);
        } catch (thrown) {
          if (!(thrown instanceof ZooKeeperError)) throw thrown;
          return done(this.#inWords(thrown), undefined as Result, zxid);
        }
        done(undefined, result, zxid);
      },
    });
  }

  /** Paths in errors are as the caller knows them. */
  #inWords(error: ZooKeeperError): ZooKeeperError {
    return new ZooKeeperError(error.code, this.#stripped(error.path), error.index);
  }

  #tooOld(): void {
    const why = "it does not know persistent watches; MQTTZoo needs ZooKeeper 3.6 or later";
    for (const listener of this.#stateListeners) listener("SUSPENDED", why);
  }

  #listener(listener: WatchListener | undefined): WatchListener | undefined {
    if (listener === undefined || this.chroot === "") return listener;
    return ({ type, path }) => listener({ type, path: this.#stripped(path) });
  }

  #full(path: string): string {
    return this.chroot === "" ? path : path === "/" ? this.chroot : this.chroot + path;
  }

  #stripped(path: string): string {
    return this.chroot !== "" && path.startsWith(this.chroot) ? path.slice(this.chroot.length) || "/" : path;
  }

  #open(server: Server): void {
    const dial = ++this.#dial;
    const session = this.#session;
    const isOurs = (): boolean => this.#dial === dial;
    const dialled = this.#doors.dial(
      server,
      {
        opened: (transport) => transport,
        received: (_, bytes) => {
          if (!isOurs()) return;
          this.#turn.begin();
          try {
            session.received(bytes, this.#clock.now());
          } finally {
            this.#turn.end();
          }
        },
        drained: () => this.#writer?.drained(),
        closed: (_, error) => {
          if (isOurs()) session.closed(this.#clock.now(), error ?? "it closed the connection");
        },
      },
      { tls: this.#tls },
    );
    dialled.then(
      (transport) => {
        if (!isOurs()) return transport.abort();
        this.#transport = transport;
        this.#writer = new Writer(transport, this.#turn);
        session.dialled(this.#clock.now());
      },
      (error) => {
        if (isOurs()) session.closed(this.#clock.now(), messageOf(error).replace(/^cannot connect to \S+: /, ""));
      },
    );
  }

  #hangUp(): void {
    this.#dial++;
    this.#writer?.flush();
    this.#writer?.close();
    this.#transport?.close();
    this.#transport = this.#writer = undefined;
  }
}

export interface WatchedRead<Result> {
  readonly type: number;
  readonly path: string;
  readonly kind: "data" | "child";
  readonly decode: (from: JuteReader) => Result;
}

export interface Question<Result> {
  readonly type: number;
  readonly path: string;
  /** Appends the body; `path` is the whole one, with chroot. */
  readonly write: (to: JuteWriter, path: string) => void;
  readonly decode: (from: JuteReader) => Result;
}

function pathAndWatch(path: string, watch: WatchListener | undefined): (to: JuteWriter) => void {
  return (to) => to.text(path).bool(watch !== undefined);
}
