/**
 * A keeper session, without IO: handshake, pipelined requests in strict order, pings, moving to another server,
 * expiry. A session outlives its connection; when it is over, a new one begins by itself.
 */

import { silenceLateMs, silenceLookMs } from "../base/limits.ts";
import type { Random } from "../base/random.ts";
import { Ring } from "../base/ring.ts";
import { keeperQueuedMax, keeperRefusedMs, keeperWatchesBytesMax } from "../base/store-limits.ts";
import { errorCode, OpCode, readOnly, whyRefused, Xid, ZooKeeperError } from "./codes.ts";
import type { Server } from "./connect-string.ts";
import { JuteError, JuteReader, type JuteWriter } from "./jute.ts";
import { Packets } from "./packets.ts";
import {
  decodeConnectResponse,
  decodeReplyHeader,
  decodeWatcherEvent,
  emptyPassword,
  encodeAuth,
  encodeConnectRequest,
  encodeSetWatches2,
  type ReplyHeader,
  requestHeader,
} from "./records.ts";
import { Servers } from "./servers.ts";
import { Watches } from "./watches.ts";

/** SUSPENDED: no contact, perhaps for a moment. LOST: the session is over, its ephemeral nodes are gone. */
export type KeeperState = "CONNECTED" | "SUSPENDED" | "LOST";

/** The orders of a keeper session to its driver, which answers with `dialled` or `closed`, and with `received`. */
export interface KeeperOutbox {
  dial(server: Server): void;
  send(packet: Uint8Array): void;
  hangUp(): void;
  /** `why` says in words what is wrong. */
  stateChanged(state: KeeperState, why: string | undefined): void;
  /** The next deadline has become sooner. */
  sooner(): void;
}

export interface KeeperOptions {
  readonly servers: readonly Server[];
  /** Keeper session timeout to ask for, in ms; the server may grant another one. */
  readonly sessionTimeoutMs: number;
  /** The server's jute.maxbuffer in bytes: larger requests are refused here, as the server would hang up. */
  readonly packetBytesMax: number;
  readonly random: Random;
}

/** idle: waiting to dial. handshaking: the connection is up, the session is not confirmed. */
type Phase = "idle" | "dialling" | "handshaking" | "connected" | "closed";

interface Request {
  readonly type: number;
  readonly path: string;
  readonly write: (to: JuteWriter) => void;
  readonly done: (error: ZooKeeperError | undefined, reply: JuteReader, zxid: number) => void;
  sentAt: number;
  xid: number;
  /** As sent. */
  bytes: number;
}

const replyHeaderBytes = 16;
/** A server whose jute.maxbuffer is lower than ours hangs up without a word. Smaller requests are hardly to blame. */
const suspiciousBytes = 64 * 1024;

const emptyReply = new JuteReader(new Uint8Array(0));

export class KeeperSession {
  readonly watches = new Watches();
  readonly #options: KeeperOptions;
  readonly #outbox: KeeperOutbox;
  readonly #servers: Servers;
  #phase: Phase = "idle";
  #state: KeeperState = "SUSPENDED";
  #everConnected = false;
  #dialAt = 0;
  #deadline = 0;
  #sessionId = 0n;
  #password: Uint8Array = emptyPassword;
  #timeoutMs: number;
  #lastXid = 0;
  #seenZxid = 0;
  #zxidBeforeLoss = 0;
  #lastSentAt = 0;
  #lastReceivedAt = 0;
  #pingSentAt = 0;
  #leaseUntil = 0;
  /** How often silence has been looked at since an answer came in time. */
  #looks = 0;
  #setWatchesOpen = 0;
  /** Seen on this connection before what was missed had been told. */
  #untoldZxid = 0;
  readonly #sent = new Ring<Request>();
  readonly #queued = new Ring<Request>();
  readonly #credentials: { readonly scheme: string; readonly credentials: Uint8Array }[] = [];
  #packets = new Packets();
  #now = 0;

  constructor(options: KeeperOptions, outbox: KeeperOutbox) {
    this.#options = options;
    this.#outbox = outbox;
    this.#timeoutMs = options.sessionTimeoutMs;
    this.#servers = new Servers(options.servers, options.random);
  }

  get state(): KeeperState {
    return this.#state;
  }

  get sessionId(): bigint {
    return this.#sessionId;
  }

  /** Transactions up to this one have been seen: their watch events have been delivered. */
  get seenZxid(): number {
    return this.#seenZxid;
  }

  /** The time until which, by the clock of `tick`, the server cannot have ended the session for want of contact. */
  get leaseUntil(): number {
    return this.#leaseUntil;
  }

  /** The server that is talked to, or dialled. */
  get server(): Server | undefined {
    return this.#servers.current;
  }

  /** Sends a request, or queues it until there is a connection. `write` appends its body. */
  request(request: Pick<Request, "type" | "path" | "write" | "done">): void {
    const { type, path, write, done } = request;
    const whole: Request = { type, path, write, done, sentAt: 0, xid: 0, bytes: 0 };
    if (this.#phase === "closed") return done(new ZooKeeperError("Closed", path), emptyReply, 0);
    if (this.#phase === "connected") return this.#send(whole);
    if (this.#queued.length >= keeperQueuedMax) return done(new ZooKeeperError("QueueFull", path), emptyReply, 0);
    this.#queued.push(whole);
  }

  /** Credentials hold for every connection from now on. */
  addAuth(scheme: string, credentials: Uint8Array): void {
    this.#credentials.push({ scheme, credentials });
    if (this.#phase === "connected") this.#outbox.send(encodeAuth(scheme, credentials));
  }

  /** The connection that `dial` asked for is up. */
  dialled(now: number): void {
    this.#now = now;
    this.#phase = "handshaking";
    this.#packets = new Packets();
    const packet = encodeConnectRequest({
      lastZxidSeen: this.#seenZxid,
      timeoutMs: this.#options.sessionTimeoutMs,
      sessionId: this.#sessionId,
      password: this.#password,
      // Not that it would be of use: a server that has lost the others says so then, instead of hanging up.
      readOnly: true,
    });
    this.#pingSentAt = now;
    this.#outbox.send(packet);
  }

  /** The connection is gone, or could not be made. */
  closed(now: number, why: string): void {
    if (this.#phase === "closed" || this.#phase === "idle") return;
    this.#now = now;
    const before = this.#phase;
    this.#phase = "idle";
    this.#packets = new Packets();
    if (before === "connected") this.#zxidBeforeLoss = this.#seenZxid;
    this.#dialAt = now + (before === "connected" ? 0 : this.#servers.failed());
    this.#deadline = this.#dialAt;
    this.#outbox.sooner();
    const { host, port } = this.server!;
    const lost = this.#sent.drain();
    const largest = lost.reduce((bytes, request) => Math.max(bytes, request.bytes), 0);
    const hint =
      largest > suspiciousBytes ? `; a request of ${largest} bytes was under way; its jute.maxbuffer may be lower` : "";
    this.#become("SUSPENDED", `ZooKeeper at ${host}:${port}: ${why}${hint}`);
    for (const request of lost) this.#fail(request, "ConnectionLoss");
  }

  /** The server is of no use, though it answers: it is hung up on, and the next one is dialled after a while. */
  leave(why: string): void {
    if (this.#phase !== "connected") return;
    this.#drop(why);
    this.#dialAt = this.#deadline = this.#now + keeperRefusedMs;
  }

  received(bytes: Uint8Array, now: number): void {
    this.#now = now;
    this.#lastReceivedAt = now;
    try {
      this.#packets.receive(bytes, (whole, start, end) => {
        this.#packet(new JuteReader(whole, start, end));
        return this.#phase === "connected";
      });
    } catch (error) {
      if (!(error instanceof JuteError)) throw error;
      return this.#drop(`it does not speak ZooKeeper's protocol: ${error.message}`);
    }
  }

  tick(now: number): void {
    this.#now = now;
    if (now < this.#deadline) return;
    switch (this.#phase) {
      case "idle":
        return this.#dial();
      case "dialling":
      case "handshaking":
        return this.#drop("no answer in time");
      case "connected":
        return this.#watchSilence(now);
      case "closed":
        this.#deadline = Infinity;
    }
  }

  nextDeadline(): number {
    return this.#deadline;
  }

  /** Ends the session after what was asked before: its ephemeral nodes vanish. */
  close(done: () => void): void {
    const finish = (): void => {
      this.#phase = "closed";
      this.#deadline = Infinity;
      for (const request of [...this.#sent.drain(), ...this.#queued.drain()]) this.#fail(request, "Closed");
      this.#outbox.hangUp();
      done();
    };
    if (this.#phase !== "connected") return finish();
    this.request({ type: OpCode.closeSession, path: "", write: () => {}, done: finish });
  }

  #dial(): void {
    const server = this.#servers.next();
    this.#phase = "dialling";
    // As ZooKeeper's own client does: the session's time is shared among the servers.
    this.#deadline = this.#now + this.#timeoutMs / this.#servers.count;
    this.#outbox.dial(server);
  }

  #drop(why: string): void {
    this.#outbox.hangUp();
    this.closed(this.#now, why);
  }

  #send(request: Request): void {
    this.#lastXid = this.#lastXid >= 0x7fff_ffff ? 1 : this.#lastXid + 1;
    request.xid = this.#lastXid;
    const to = requestHeader(request.xid, request.type);
    request.write(to);
    if (to.length > this.#options.packetBytesMax) return this.#fail(request, "PacketTooLarge");
    request.bytes = to.length;
    request.sentAt = this.#lastSentAt = this.#now;
    this.#sent.push(request);
    this.#outbox.send(to.packet());
  }

  #packet(from: JuteReader): void {
    if (this.#phase === "handshaking") return this.#shakeHands(from);
    const header = decodeReplyHeader(from);
    switch (header.xid) {
      case Xid.watchEvent:
        return this.watches.fire(decodeWatcherEvent(from));
      case Xid.ping:
        this.#see(header.zxid, this.#pingSentAt);
        return;
      case Xid.auth:
        if (header.err !== 0) this.#drop("the credentials of add-auth were refused");
        return;
      default:
        return this.#reply(header, from);
    }
  }

  #shakeHands(from: JuteReader): void {
    // Instead of a response, an answer to a request that nobody has made: no new session.
    if (from.remaining === replyHeaderBytes) return this.#drop(whyRefused(decodeReplyHeader(from).err));
    const response = decodeConnectResponse(from);
    // First of all: such a server knows nothing of sessions, and may call a living one expired.
    if (response.readOnly) return this.#drop(readOnly);
    if (response.timeoutMs <= 0) return this.#expire();
    this.#sessionId = response.sessionId;
    this.#password = response.password;
    this.#timeoutMs = response.timeoutMs;
    this.#phase = "connected";
    this.#servers.reached();
    this.#see(0, this.#pingSentAt);
    this.#lastSentAt = this.#now;
    this.#deadline = this.#now;
    this.#outbox.sooner();
    for (const { scheme, credentials } of this.#credentials) this.#outbox.send(encodeAuth(scheme, credentials));
    this.#setWatchesOpen = this.#untoldZxid = 0;
    for (const table of this.watches.tables(Math.min(keeperWatchesBytesMax, this.#options.packetBytesMax / 2))) {
      this.#setWatchesOpen++;
      this.#send({
        type: OpCode.setWatches2,
        path: "",
        write: (to) => encodeSetWatches2(to, this.#seenZxid, table),
        done: (error, _, zxid) => this.#watchesSet(error, zxid),
        sentAt: 0,
        xid: 0,
        bytes: 0,
      });
    }
    const queued = this.#queued.drain();
    for (const request of queued) this.#send(request);
    this.#everConnected = true;
    this.#become("CONNECTED", undefined);
  }

  #watchesSet(error: ZooKeeperError | undefined, zxid: number): void {
    if (error?.code === "ConnectionLoss" || error?.code === "Closed") return;
    if (error !== undefined)
      return this.#drop(`it refused the watches (${error.code}); MQTTZoo needs ZooKeeper 3.6 or later`);
    this.#setWatchesOpen--;
    if (this.#setWatchesOpen > 0) return;
    if (zxid > this.#zxidBeforeLoss) this.watches.fireMissed();
    this.#seenZxid = Math.max(this.#seenZxid, this.#untoldZxid);
  }

  #reply(header: ReplyHeader, from: JuteReader): void {
    const request = this.#sent.peek();
    if (request === undefined || request.xid !== header.xid) {
      return this.#drop(`answer ${header.xid} came where ${request?.xid ?? "none"} was due`);
    }
    this.#sent.shift();
    this.#see(header.zxid, request.sentAt);
    if (header.err === 0) return request.done(undefined, from, header.zxid);
    const code = errorCode(header.err);
    // The server moved the session away, or ended it: the answer of a write is not known from this.
    request.done(new ZooKeeperError(code, request.path), from, header.zxid);
    if (code === "SessionMoved") this.#drop("the session has moved to another connection");
  }

  /**
   * Notes a zxid as seen. Events that were missed without contact are told first: until then it must not count as seen.
   */
  #see(zxid: number, sentAt: number): void {
    if (this.#setWatchesOpen > 0) this.#untoldZxid = Math.max(this.#untoldZxid, zxid);
    else if (zxid > this.#seenZxid) this.#seenZxid = zxid;
    this.#leaseUntil = Math.max(this.#leaseUntil, sentAt + this.#timeoutMs);
  }

  /** The session is over. What waits belongs to it; a new session begins. */
  #expire(): void {
    this.#sessionId = 0n;
    this.#password = emptyPassword;
    this.#zxidBeforeLoss = -1;
    for (const request of this.#queued.drain()) this.#fail(request, "SessionExpired");
    this.#become("LOST", "the keeper session has expired");
    this.#outbox.hangUp();
    if (this.#phase === "closed") return;
    this.#phase = "idle";
    this.#servers.stay();
    this.#deadline = this.#dialAt = this.#now;
    this.#outbox.sooner();
  }

  #watchSilence(now: number): void {
    const silentMs = now - this.#lastReceivedAt;
    if (silentMs >= (this.#timeoutMs * 2) / 3) {
      if (!this.#mayLieUnread(silentMs)) return this.#drop(`no answer for ${Math.round(silentMs)} ms`);
      this.#looks++;
      this.#deadline = now + silenceLookMs;
      return;
    }
    this.#looks = 0;
    if (now - this.#lastSentAt >= this.#timeoutMs / 3 || now - this.#pingSentAt >= this.#timeoutMs / 3) {
      this.#pingSentAt = this.#lastSentAt = now;
      this.#outbox.send(requestHeader(Xid.ping, OpCode.ping).packet());
    }
    const pingAt = Math.min(this.#lastSentAt, this.#pingSentAt) + this.#timeoutMs / 3;
    this.#deadline = Math.min(pingAt, this.#lastReceivedAt + (this.#timeoutMs * 2) / 3);
  }

  /** Returns true while answers may have come that this process was held up from reading, as `base/silence.ts` says. */
  #mayLieUnread(silentMs: number): boolean {
    const isLate = this.#now - this.#deadline >= silenceLateMs;
    return silentMs < this.#timeoutMs && (this.#looks === 0 || isLate);
  }

  #become(state: KeeperState, why: string | undefined): void {
    // While the first contact is looked for, every server that fails is news.
    if (state === this.#state && (state !== "SUSPENDED" || this.#everConnected)) return;
    if (state === "SUSPENDED" && this.#state === "LOST") return;
    this.#state = state;
    this.#outbox.stateChanged(state, why);
  }

  #fail(request: Request, code: ZooKeeperError["code"]): void {
    request.done(new ZooKeeperError(code, request.path), emptyReply, 0);
  }
}
