/**
 * A ZooKeeper of one server in this process, on the simulation's tree and the real protocol, that can be made to do
 * what a real one does once in a million times: hold a write that its client has given up, answer from an old state,
 * refuse for no reason.
 */
import type { Socket } from "bun";
import { noBytes } from "../../src/base/bytes.ts";
import type { CoordinatorErrorCode, WriteOperation } from "../../src/coordinator/coordinator.ts";
import { OpCode, Xid } from "../../src/zookeeper/codes.ts";
import { JuteReader, JuteWriter } from "../../src/zookeeper/jute.ts";
import { createModes, decodeAcl } from "../../src/zookeeper/records.ts";
import { MemoryTree } from "../simulation/memory-tree.ts";

/** serve: as it should be. hold: not now, see `release`. A number: that error. */
export type Manners = "serve" | "hold" | number;

interface Session {
  readonly id: bigint;
}

interface Held {
  readonly operations: readonly WriteOperation[];
  readonly session: Session;
}

interface Peer {
  session: Session | undefined;
  rest: Buffer;
}

const errors: Record<string, number> = {
  NoNode: -101,
  NoAuth: -102,
  BadVersion: -103,
  NoChildrenForEphemerals: -108,
  NodeExists: -110,
  NotEmpty: -111,
  InvalidPath: -8,
};

const modes = {
  persistent: "persistent",
  ephemeral: "ephemeral",
  persistentSequential: "sequential",
  container: "container",
} as const;

export class FakeZooKeeper {
  readonly tree = new MemoryTree();
  /** How writes, and reads, are met. */
  onWrite: (operations: readonly WriteOperation[]) => Manners = () => "serve";
  onRead: (path: string) => Manners = () => "serve";
  /** Answers of a server that lags behind the leader, by path, until it is asked to sync. */
  readonly stale = new Map<string, { readonly data: Uint8Array; readonly version: number }>();
  readonly #held: Held[] = [];
  readonly #peers = new Set<Socket<Peer>>();
  readonly #sessions = new Map<bigint, Session>();
  readonly #listener;

  constructor() {
    this.#listener = Bun.listen<Peer>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: (socket) => {
          socket.data = { session: undefined, rest: Buffer.alloc(0) };
          this.#peers.add(socket);
        },
        data: (socket, bytes) => this.#receive(socket, bytes),
        close: (socket) => void this.#peers.delete(socket),
      },
    });
  }

  get connect(): string {
    return `127.0.0.1:${this.#listener.port}`;
  }

  /** Hangs up on everybody. */
  cut(): void {
    for (const socket of [...this.#peers]) socket.terminate();
  }

  /** Lets held requests take effect now, or be refused, without an answer: their client has gone. */
  release(): void {
    for (const { operations, session } of this.#held.splice(0)) this.tree.write(operations, session);
  }

  get heldCount(): number {
    return this.#held.length;
  }

  stop(): void {
    this.#listener.stop(true);
  }

  #receive(socket: Socket<Peer>, bytes: Uint8Array): void {
    let rest: Buffer = Buffer.concat([socket.data.rest, bytes]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
      const end = 4 + rest.readInt32BE(0);
      const from = new JuteReader(rest.subarray(4, end));
      if (socket.data.session === undefined) this.#greet(socket, from);
      else this.#answer(socket, socket.data.session, from);
      rest = rest.subarray(end);
    }
    socket.data.rest = rest;
  }

  #greet(socket: Socket<Peer>, from: JuteReader): void {
    from.int();
    from.long();
    const timeoutMs = from.int();
    const asked = from.bigLong();
    const id = asked === 0n ? BigInt(this.#sessions.size + 1) : asked;
    const session = this.#sessions.get(id) ?? { id };
    this.#sessions.set(id, session);
    socket.data.session = session;
    socket.write(new JuteWriter().int(0).int(timeoutMs).long(id).buffer(Buffer.alloc(16)).bool(false).packet());
  }

  #answer(socket: Socket<Peer>, session: Session, from: JuteReader): void {
    const xid = from.int();
    const type = from.int();
    const reply = (error = 0): JuteWriter => new JuteWriter().int(xid).long(this.tree.zxid).int(error);
    const say = (to: JuteWriter): void => void socket.write(to.packet());
    switch (type) {
      case OpCode.ping:
        return say(new JuteWriter().int(Xid.ping).long(this.tree.zxid).int(0));
      case OpCode.sync:
        this.stale.clear();
        return say(reply().text(from.text()));
      case OpCode.exists:
        return this.#exists(from.text(), reply, say);
      case OpCode.multiRead:
        return this.#readAll(from, reply, say);
      case OpCode.multi:
      case OpCode.setData:
      case OpCode.create2:
        return this.#write(type, from, { session, reply, say });
      default:
        return say(reply());
    }
  }

  #exists(path: string, reply: (error?: number) => JuteWriter, say: (to: JuteWriter) => void): void {
    const manners = this.onRead(path);
    if (manners === "hold") return;
    if (manners !== "serve") return say(reply(manners));
    if (!this.tree.nodes.has(path)) return say(reply(errors.NoNode));
    const to = reply();
    this.#writeStat(to, path);
    say(to);
  }

  #readAll(from: JuteReader, reply: (error?: number) => JuteWriter, say: (to: JuteWriter) => void): void {
    const to = reply();
    for (let type = from.int(); !from.bool(); type = from.int()) {
      from.int();
      const path = from.text();
      from.bool();
      const manners = this.onRead(path);
      if (manners === "hold") return;
      const found = this.tree.read({ kind: type === OpCode.getData ? "get" : "children", path });
      const error = typeof manners === "number" ? manners : typeof found === "string" ? errors[found]! : 0;
      to.int(error === 0 ? type : OpCode.error)
        .bool(false)
        .int(error);
      if (error !== 0) to.int(error);
      else if (typeof found === "object" && "data" in found) {
        to.buffer(this.stale.get(path)?.data ?? found.data);
        this.#writeStat(to, path);
      } else if (typeof found === "object" && "children" in found)
        to.vector(found.children, (into, name) => into.text(name));
    }
    say(to.int(-1).bool(true).int(-1));
  }

  #writeStat(to: JuteWriter, path: string): void {
    const node = this.tree.nodes.get(path)!;
    const owner = node.owner === undefined ? 0n : (node.owner as Session).id;
    to.long(node.czxid).long(node.mzxid).long(0).long(0);
    to.int(this.stale.get(path)?.version ?? node.version)
      .int(0)
      .int(0)
      .long(owner);
    to.int(node.data.length).int(node.children.size).long(node.mzxid);
  }

  #write(
    type: number,
    from: JuteReader,
    how: { session: Session; reply: (error?: number) => JuteWriter; say: (to: JuteWriter) => void },
  ): void {
    const { session, reply, say } = how;
    const operations = type === OpCode.multi ? readMulti(from) : [readWrite(type, from)];
    const manners = this.onWrite(operations);
    if (manners === "hold") return void this.#held.push({ operations, session });
    const results = manners === "serve" ? this.tree.write(operations, session) : { code: manners, index: 0 };
    if ("code" in results) {
      const error = typeof results.code === "number" ? results.code : errors[results.code as CoordinatorErrorCode]!;
      if (type !== OpCode.multi) return say(reply(error));
      const to = reply();
      operations.forEach((_, at) => {
        to.int(OpCode.error).bool(false).int(-1);
        to.int(at < results.index ? 0 : at === results.index ? error : -2);
      });
      return say(to.int(-1).bool(true).int(-1));
    }
    const to = reply();
    operations.forEach(({ kind, path }, at) => {
      const code = kind === "set" ? OpCode.setData : OpCode[kind];
      if (type === OpCode.multi) to.int(code).bool(false).int(0);
      if (kind === "create") to.text(results[at]!.path);
      if (kind === "set" || (kind === "create" && type === OpCode.create2)) this.#writeStat(to, path);
    });
    say(type === OpCode.multi ? to.int(-1).bool(true).int(-1) : to);
  }
}

function readMulti(from: JuteReader): WriteOperation[] {
  const operations: WriteOperation[] = [];
  for (let type = from.int(); !from.bool(); type = from.int()) {
    from.int();
    operations.push(readWrite(type, from));
  }
  return operations;
}

function readWrite(type: number, from: JuteReader): WriteOperation {
  const path = from.text();
  switch (type) {
    case OpCode.setData:
      return { kind: "set", path, data: from.buffer(), version: from.int() };
    case OpCode.delete:
      return { kind: "delete", path, version: from.int() };
    case OpCode.check:
      return { kind: "check", path, version: from.int() };
    default: {
      const data = from.buffer();
      decodeAcl(from);
      const mode = createModes[from.int()] as keyof typeof modes;
      return { kind: "create", path, data: data.length === 0 ? noBytes : data, mode: modes[mode] };
    }
  }
}
