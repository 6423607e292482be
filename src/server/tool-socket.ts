/**
 * The socket for tools on the same machine while a broker runs alone. Only the broker may write to its store, so tools
 * ask it to, over a socket in its data folder that only its own user may open. Requests and replies are blocks, as
 * between the broker's thread and the store's, each after its length (u32).
 */
import { join } from "node:path";
import { concatBytes, noBytes, readUint32, writeUint32 } from "../base/bytes.ts";
import { messageOf, OperatingError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { controlFrameBytesMax } from "../base/store-limits.ts";
import {
  type Coordinator,
  CoordinatorError,
  type ReadDone,
  type ReadOperation,
  type WriteDone,
  type WriteOperation,
} from "../coordinator/coordinator.ts";
import { decodeReplies, decodeRequests, encodeReplies, encodeRequests } from "../embedded/codec.ts";
import type { Reply, Request } from "../embedded/database.ts";
import { dialUnix, listenUnix } from "../net/tcp.ts";
import type { Transport, TransportEvents } from "../net/transport.ts";
import { Turn, Writer } from "../net/writer.ts";

type Store = Pick<Coordinator, "read" | "write">;

/** Returns the path of the socket in a data folder. */
export function toolSocketPath(folder: string): string {
  return join(folder, "control.sock");
}

/** One end of the socket, which cuts bytes into blocks. */
class End {
  readonly transport: Transport;
  readonly writer: Writer;
  #received: Uint8Array = noBytes;

  constructor(transport: Transport) {
    this.transport = transport;
    this.writer = new Writer(transport, new Turn((flush) => queueMicrotask(flush)));
  }

  /** Sends a block. */
  send(block: Uint8Array): void {
    const length = new Uint8Array(4);
    writeUint32(length, 0, block.length);
    this.writer.append(concatBytes([length, block]), 0, 4 + block.length);
  }

  /** Returns the blocks that are complete now. Throws `OperatingError` (EFORMAT) for one that is too large. */
  receive(bytes: Uint8Array): Uint8Array[] {
    this.#received = concatBytes([this.#received, bytes]);
    const blocks: Uint8Array[] = [];
    while (this.#received.length >= 4) {
      const end = 4 + readUint32(this.#received, 0);
      if (end > controlFrameBytesMax) throw new OperatingError("EFORMAT", "a block that is too large");
      if (this.#received.length < end) break;
      blocks.push(this.#received.slice(4, end));
      this.#received = this.#received.slice(end);
    }
    return blocks;
  }
}

/** Opens the socket. If it cannot be opened the broker goes on, and tools are told to end it first. */
export function openToolSocket(folder: string, store: Store, log: Log): { close(): void } {
  const path = toolSocketPath(folder);
  const events: TransportEvents<End> = {
    opened: (transport) => new End(transport),
    received: (end, bytes) => {
      try {
        for (const block of end.receive(bytes))
          for (const request of decodeRequests(block)) answer(store, request, end);
      } catch (error) {
        log.warn({ why: messageOf(error) }, "a tool was not understood");
        end.transport.abort();
      }
    },
    drained: (end) => end.writer.drained(),
    closed: (end) => end.writer.close(),
  };
  try {
    return listenUnix(path, events);
  } catch (error) {
    log.warn({ path, why: messageOf(error) }, "tools cannot change what is stored while this broker runs");
    return { close() {} };
  }
}

/** Has the store carry out a tool's request, and sends the reply. */
function answer(store: Store, request: Request, end: End): void {
  const reply = (given: Reply): void => end.send(encodeReplies([given]));
  const failed = ({ code, path, index }: CoordinatorError): void => reply({ kind: "failed", code, path, index });
  if (request.kind === "read") {
    store.read(request.operations, (error, results) => {
      if (error !== undefined) failed(error);
      else reply({ kind: "read", results });
    });
    return;
  }
  store.write(request.operations, (error, results, zxid) => {
    if (error !== undefined) failed(error);
    else reply({ kind: "written", results: results ?? [], zxid });
  });
}

/** Connects a tool to the store of a broker that runs; undefined if none does. */
export async function dialControl(folder: string): Promise<(Store & { close(): void }) | undefined> {
  const waiting: ((reply: Reply) => void)[] = [];
  const events: TransportEvents<End> = {
    opened: (transport) => new End(transport),
    received: (end, bytes) => {
      for (const block of end.receive(bytes)) for (const reply of decodeReplies(block)) waiting.shift()?.(reply);
    },
    drained: (end) => end.writer.drained(),
    closed: (end) => {
      end.writer.close();
      const closed: Reply = { kind: "failed", code: "Closed", path: "", index: 0 };
      for (const settle of waiting.splice(0)) settle(closed);
    },
  };
  const end = await dialUnix(toolSocketPath(folder), events).catch(() => undefined);
  if (end === undefined) return undefined;
  const ask = (request: Request, settle: (reply: Reply) => void): void => {
    waiting.push(settle);
    end.send(encodeRequests([request]));
  };
  return {
    read(operations: readonly ReadOperation[], done: ReadDone) {
      ask({ kind: "read", operations }, (reply) =>
        reply.kind === "read" ? done(undefined, reply.results) : done(errorOf(reply), []),
      );
    },
    write(operations: readonly WriteOperation[], done: WriteDone) {
      ask({ kind: "write", operations, canBeRepaired: false }, (reply) =>
        reply.kind === "written" ? done(undefined, reply.results, reply.zxid) : done(errorOf(reply), undefined, 0),
      );
    },
    close: () => end.transport.abort(),
  };
}

function errorOf(reply: Reply): CoordinatorError {
  return reply.kind === "failed"
    ? new CoordinatorError(reply.code, reply.path, reply.index)
    : new CoordinatorError("Closed", "", 0);
}
