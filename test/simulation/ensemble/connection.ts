/**
 * A client's connection to a server of the simulated ensemble, in ZooKeeper's protocol. Requests are answered in their
 * order: writes when this server has applied them, reads from what it has applied, after the session's writes before
 * them.
 */
import { concatBytes, readUint32 } from "../../../src/base/bytes.ts";
import type { Transport } from "../../../src/net/transport.ts";
import { OpCode, Xid } from "../../../src/zookeeper/codes.ts";
import { JuteReader, JuteWriter } from "../../../src/zookeeper/jute.ts";
import type { Part, Transaction } from "./ensemble.ts";
import { Err, isCreate, type Operation, readMulti, readOperation } from "./requests.ts";
import type { Awaiting, KeeperServer } from "./server.ts";
import { ServerWatches } from "./watches.ts";
import { writeStat, type Znodes } from "./znodes.ts";

interface Pending {
  readonly xid: number;
  /** Answers it; undefined: what it waits for has not happened yet. */
  answer: (() => void) | undefined;
}

const writes: readonly number[] = [
  OpCode.create,
  OpCode.create2,
  OpCode.createContainer,
  OpCode.createTtl,
  OpCode.delete,
  OpCode.setData,
];

const noWords = (): void => {};

export class KeeperConnection {
  /** 0n: there is none yet. */
  session = 0n;
  readonly #server: KeeperServer;
  readonly #transport: Transport;
  readonly #watches: ServerWatches;
  readonly #pending: Pending[] = [];
  /** The bytes of requests that have not come whole, and how many of them are filled. */
  #partial = new Uint8Array(0);
  #filled = 0;
  #unsent: Uint8Array[] = [];
  #isGreeted = false;
  #isOver = false;

  constructor(server: KeeperServer, transport: Transport) {
    this.#server = server;
    this.#transport = transport;
    this.#watches = new ServerWatches((type, path) => this.#sendEvent(type, path));
  }

  received(bytes: Uint8Array): void {
    this.#append(bytes);
    let at = 0;
    while (!this.#isOver && at + 4 <= this.#filled) {
      const length = readUint32(this.#partial, at);
      // ZooKeeper hangs up without a word.
      if (length > this.#server.ensemble.options.packetBytesMax) return this.hangUp(`a packet of ${length} bytes`);
      if (at + 4 + length > this.#filled) break;
      // What the tree keeps of it is a part of these bytes.
      const packet = new JuteReader(this.#partial.slice(at + 4, at + 4 + length), 0, length);
      at += 4 + length;
      if (this.#isGreeted) this.#request(packet);
      else this.#greet(packet);
    }
    this.#partial.copyWithin(0, at, this.#filled);
    this.#filled -= at;
  }

  #append(bytes: Uint8Array): void {
    const needed = this.#filled + bytes.length;
    if (needed > this.#partial.length) {
      // A large request may come in hundreds of pieces.
      const grown = new Uint8Array(Math.max(needed, 2 * this.#partial.length));
      grown.set(this.#partial.subarray(0, this.#filled));
      this.#partial = grown;
    }
    this.#partial.set(bytes, this.#filled);
    this.#filled = needed;
  }

  closed(): void {
    this.#isOver = true;
    this.#server.connections.delete(this);
  }

  /** The server closes it. */
  hangUp(_why: string): void {
    if (this.#isOver) return;
    this.#flush();
    this.closed();
    this.#transport.close();
  }

  /** Something has happened to a node. */
  tell(type: number, path: string): void {
    this.#watches.fire(type, path);
  }

  #greet(from: JuteReader): void {
    this.#isGreeted = true;
    from.int();
    const seenZxid = from.long();
    const timeoutMs = from.int();
    const asked = from.bigLong();
    const server = this.#server;
    // "Refusing session request for client as it has seen zxid ..."
    if (seenZxid > server.lastZxid) return this.hangUp("it has seen more than this server");
    if (asked === 0n) return this.#begin(timeoutMs);
    for (const other of [...server.connections])
      if (other !== this && other.session === asked) other.hangUp("it has come back");
    this.session = asked;
    server.tellLeader(() => {
      const granted = server.ensemble.moveSession(asked, server);
      server.hearAnswer(() => {
        if (this.#isOver) return;
        this.#welcome(granted);
        if (granted === 0) this.hangUp("the session is over");
      });
    });
  }

  #begin(timeoutMs: number): void {
    const server = this.#server;
    const session = server.ensemble.takeSessionId();
    server.forward(
      { session, kind: "begin", operations: [], timeoutMs },
      {
        applied: noWords,
        done: () => {
          if (this.#isOver) return;
          this.session = session;
          this.#welcome(timeoutMs);
        },
      },
    );
  }

  /** `timeoutMs` 0: the session that was asked for is over. */
  #welcome(timeoutMs: number): void {
    const session = timeoutMs === 0 ? 0n : this.session;
    this.#send(new JuteWriter().int(0).int(timeoutMs).long(session).buffer(new Uint8Array(16)).bool(false));
  }

  #request(from: JuteReader): void {
    const xid = from.int();
    const type = from.int();
    if (type === OpCode.auth) return this.#reply(Xid.auth, Err.ok, this.#server.lastZxid);
    this.#server.touch(this.session);
    const pending: Pending = { xid, answer: undefined };
    this.#pending.push(pending);
    if (type === OpCode.multi) this.#write(pending, readMulti(from, readOperation), { isMulti: true });
    else if (writes.includes(type)) this.#write(pending, [readOperation(from, type)], { isMulti: false });
    else if (type === OpCode.closeSession) this.#close(pending);
    else if (type === OpCode.sync) this.#sync(pending, from.text());
    else pending.answer = this.#read(xid, type, from);
    this.#answer();
  }

  /** Answers what is due, in order. */
  #answer(): void {
    while (!this.#isOver && this.#pending[0]?.answer !== undefined) this.#pending.shift()!.answer!();
  }

  #write(pending: Pending, operations: readonly Operation[], { isMulti }: { isMulti: boolean }): void {
    const results = new JuteWriter();
    const awaiting: Awaiting = {
      applied: (part, tree) => writeResult(results, part, { tree, isMulti }),
      done: (transaction) => {
        pending.answer = () => {
          if (isMulti) this.#replyMulti(pending.xid, transaction, { results, count: operations.length });
          else this.#reply(pending.xid, transaction.refused?.code ?? Err.ok, transaction.zxid, results);
          if (transaction.refused?.code === Err.sessionMoved) this.hangUp("the session has moved");
        };
        this.#answer();
      },
    };
    this.#server.forward({ session: this.session, kind: "write", operations, timeoutMs: 0 }, awaiting);
  }

  #replyMulti(
    xid: number,
    { refused, zxid }: Transaction,
    { results, count }: { results: JuteWriter; count: number },
  ): void {
    const isForeign = refused?.code === Err.sessionMoved || refused?.code === Err.sessionExpired;
    if (isForeign) return this.#reply(xid, refused!.code, zxid);
    if (refused !== undefined) {
      for (let index = 0; index < count; index++) {
        const err = index < refused.index ? Err.ok : index === refused.index ? refused.code : Err.runtimeInconsistency;
        results.int(OpCode.error).bool(false).int(err).int(err);
      }
    }
    this.#reply(xid, Err.ok, zxid, results.int(OpCode.error).bool(true).int(-1));
  }

  #close(pending: Pending): void {
    const done = (transaction: Transaction): void => {
      pending.answer = () => this.#reply(pending.xid, Err.ok, transaction.zxid);
      this.#answer();
    };
    const request = { session: this.session, kind: "end", operations: [], timeoutMs: 0 } as const;
    this.#server.forward(request, { applied: noWords, done });
  }

  #sync(pending: Pending, path: string): void {
    this.#server.sync(() => {
      pending.answer = () => this.#reply(pending.xid, Err.ok, this.#server.lastZxid, new JuteWriter().text(path));
      this.#answer();
    });
  }

  /** Prepares a read of what is there when its turn comes. */
  #read(xid: number, type: number, from: JuteReader): () => void {
    switch (type) {
      case OpCode.ping:
        return () => this.#reply(Xid.ping, Err.ok, this.#server.lastZxid);
      case OpCode.exists:
      case OpCode.getData:
      case OpCode.getChildren:
      case OpCode.getChildren2:
        return this.#readOne(xid, type, { path: from.text(), watch: from.bool() });
      case OpCode.multiRead: {
        const parts = readMulti(from, (part, type) => {
          const path = part.text();
          part.bool();
          return { type, path };
        });
        return () => this.#replyMultiRead(xid, parts);
      }
      case OpCode.addWatch: {
        const path = from.text();
        const kind = from.int() === 1 ? "recursive" : "persistent";
        return () => {
          this.#watches.add(kind, path);
          this.#reply(xid, Err.ok, this.#server.lastZxid, new JuteWriter().int(0));
        };
      }
      case OpCode.removeWatches: {
        const path = from.text();
        return () => {
          this.#watches.remove(path);
          this.#reply(xid, Err.ok, this.#server.lastZxid);
        };
      }
      case OpCode.setWatches2: {
        const since = from.long();
        const tables = Array.from({ length: 5 }, () => from.vector((entry) => entry.text()));
        return () => {
          this.#watches.restore(this.#server.tree, since, tables);
          this.#reply(xid, Err.ok, this.#server.lastZxid);
        };
      }
      default:
        return () => this.#reply(xid, Err.unimplemented, this.#server.lastZxid);
    }
  }

  #readOne(xid: number, type: number, { path, watch }: { path: string; watch: boolean }): () => void {
    return () => {
      const { tree, lastZxid } = this.#server;
      const isThere = tree.nodes.has(path);
      if (watch && (isThere || type === OpCode.exists))
        this.#watches.add(
          type === OpCode.getChildren || type === OpCode.getChildren2 ? "child" : isThere ? "data" : "exist",
          path,
        );
      if (!isThere) return this.#reply(xid, Err.noNode, lastZxid);
      const body = new JuteWriter();
      writeRead(body, tree, { type, path });
      this.#reply(xid, Err.ok, lastZxid, body);
    };
  }

  #replyMultiRead(xid: number, parts: readonly { type: number; path: string }[]): void {
    const { tree, lastZxid } = this.#server;
    const body = new JuteWriter();
    for (const part of parts) {
      if (!tree.nodes.has(part.path)) body.int(OpCode.error).bool(false).int(Err.noNode).int(Err.noNode);
      else writeRead(body.int(part.type).bool(false).int(Err.ok), tree, part);
    }
    this.#reply(xid, Err.ok, lastZxid, body.int(OpCode.error).bool(true).int(-1));
  }

  #sendEvent(type: number, path: string): void {
    this.#send(new JuteWriter().int(Xid.watchEvent).long(-1).int(Err.ok).int(type).int(3).text(path));
  }

  #reply(xid: number, err: number, zxid: number, body?: JuteWriter): void {
    this.#send(new JuteWriter().int(xid).long(zxid).int(err), err === Err.ok ? body : undefined);
  }

  #send(head: JuteWriter, body?: JuteWriter): void {
    if (this.#isOver) return;
    this.#unsent.push(packetOf(head, body));
    // What is said in one instant leaves together.
    if (this.#unsent.length === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const bytes = concatBytes(this.#unsent);
    this.#unsent = [];
    if (bytes.length > 0) this.#transport.write(bytes, 0, bytes.length);
  }
}

/** One packet of two writers' bytes. */
function packetOf(head: JuteWriter, body: JuteWriter | undefined): Uint8Array {
  if (body === undefined) return head.packet();
  const whole = new Uint8Array(4 + head.length + body.length);
  new DataView(whole.buffer).setInt32(0, head.length + body.length);
  whole.set(head.packet().subarray(4), 4);
  whole.set(body.packet().subarray(4), 4 + head.length);
  return whole;
}

/** Writes the result of one part of a write. */
function writeResult(to: JuteWriter, part: Part, { tree, isMulti }: { tree: Znodes; isMulti: boolean }): void {
  const operation = part.operation!;
  const path = typeof part.done === "object" ? part.done.path : operation.path;
  const node = tree.nodes.get(path);
  const hasStat = !isMulti || operation.type !== OpCode.create;
  if (isMulti) {
    const type = isCreate(operation) && hasStat ? OpCode.create2 : operation.type;
    to.int(type).bool(false).int(Err.ok);
  }
  if (isCreate(operation)) to.text(path);
  if ((isCreate(operation) && hasStat) || operation.type === OpCode.setData) writeStat(to, node!);
}

function writeRead(to: JuteWriter, tree: Znodes, { type, path }: { type: number; path: string }): void {
  const node = tree.nodes.get(path)!;
  if (type === OpCode.getData) to.buffer(node.data);
  if (type === OpCode.getChildren || type === OpCode.getChildren2)
    to.vector([...node.children], (into, name) => into.text(name));
  if (type !== OpCode.getChildren) writeStat(to, node);
}
