/** The worker around the database: one message in is one transaction, one message out its replies. */

import { messageOf, OperatingError, type OperatingErrorCode } from "../base/errors.ts";
import { emptyLevelsMs, emptyLevelsSweptMax } from "../base/limits.ts";
import { diskLookMs, witnessSyncMs } from "../base/store-limits.ts";
import { decodeRequests, type HandedBlock, putReplies, SharedBlock } from "./codec.ts";
import { DamagedRow } from "./damage.ts";
import { type Reply, type Request, TreeDatabase } from "./database.ts";
import { DiskSpace } from "./disk-space.ts";
import { Room } from "./room.ts";

export type ToWorker =
  | {
      readonly kind: "open";
      readonly folder: string;
      readonly acceptDamage: boolean;
      /** Memory for blocks of requests, and for those of replies. */
      readonly requests: SharedArrayBuffer;
      readonly replies: SharedArrayBuffer;
    }
  | { readonly kind: "run"; readonly requests: HandedBlock }
  | { readonly kind: "close" };

export type FromWorker =
  | { readonly kind: "opened" }
  | { readonly kind: "refused"; readonly message: string; readonly code: OperatingErrorCode }
  | { readonly kind: "ran"; readonly replies: HandedBlock }
  /** Emptied levels have been removed: the disk takes writes. */
  | { readonly kind: "swept" }
  | { readonly kind: "trouble"; readonly message: string }
  /** Words for the operator's log. */
  | { readonly kind: "report"; readonly words: string }
  /** The disk has become full, and nothing new should be stored; or there is room again. */
  | { readonly kind: "space"; readonly isFull: boolean }
  /** A record was found damaged and has been set aside, since the operator accepts that. */
  | { readonly kind: "damaged"; readonly words: string }
  | { readonly kind: "closed" };

declare const self: Worker;

const retryMs = 1000;
let database: TreeDatabase | undefined;
/** The next few levels are about to be swept. */
let isSweeping = false;
let acceptDamage = false;
let room: Room | undefined;
/** The memory for requests, and for replies. */
let incoming: SharedBlock | undefined;
let outgoing: SharedBlock | undefined;

function send(message: FromWorker): void {
  if (message.kind === "ran" && typeof message.replies !== "number")
    self.postMessage(message, [message.replies.buffer]);
  else self.postMessage(message);
}

function open(folder: string): void {
  const report = (words: string): void => send({ kind: "report", words });
  try {
    database = withRoom(folder, () => new TreeDatabase(folder, "own", { acceptDamage, report }));
    room = new Room(new DiskSpace(folder), database.file, (isFull) => send({ kind: "space", isFull }));
  } catch (error) {
    return send({
      kind: "refused",
      message: messageOf(error),
      code: error instanceof OperatingError ? error.code : "ESTORE",
    });
  }
  setInterval(() => room?.look(), diskLookMs);
  setInterval(() => {
    database?.ageContainers();
    sweep();
  }, emptyLevelsMs);
  setInterval(() => database?.syncWitness(), witnessSyncMs);
  send({ kind: "opened" });
  // The reserve is there before anything is promised.
  room.look();
}

/** Even to open it takes some room: the reserve is there from earlier, or not. */
function withRoom<Opened>(folder: string, open: () => Opened): Opened {
  for (;;) {
    try {
      return open();
    } catch (error) {
      if (!isFull(error) || !new DiskSpace(folder).release()) throw error;
    }
  }
}

function isFull(error: unknown): boolean {
  return error instanceof OperatingError && error.code === "EFULL";
}

/**
 * A disk that is full or fails is waited for: nothing is acknowledged meanwhile, nothing is given up. So is a record
 * that is damaged, which the operator must decide about.
 */
function run(requests: readonly Request[]): void {
  try {
    sendReplies(putReplies(outgoing!, answer(requests)));
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    // While anything of the reserve is left, what has been promised already is stored.
    if (isFull(error) && room?.ranOut() === true) return run(requests);
    send({ kind: "trouble", message: error.message });
    setTimeout(() => run(requests), retryMs);
  }
}

/** Nothing is acknowledged that lies in a file which nobody will find: it is waited for. */
function sendReplies(replies: HandedBlock): void {
  if (database?.file.isInPlace === false) {
    send({ kind: "trouble", message: "the file of the store is gone from its folder, or another one is in its place" });
    setTimeout(() => sendReplies(replies), retryMs);
    return;
  }
  send({ kind: "ran", replies });
  room?.committed();
}

function answer(requests: readonly Request[]): Reply[] {
  for (;;) {
    try {
      return database!.run(requests);
    } catch (error) {
      if (!acceptDamage || !(error instanceof DamagedRow)) throw error;
      database!.setAside(error);
      send({ kind: "damaged", words: error.message });
    }
  }
}

/** Emptied levels go a few at a time: whatever has been asked meanwhile comes between. */
function sweep(): void {
  if (isSweeping || database?.mustSweep !== true) return;
  try {
    if (database.sweepContainers(emptyLevelsSweptMax).length > 0) send({ kind: "swept" });
  } catch (error) {
    // They are looked at again the next time.
    if (isFull(error)) return void room?.ranOut();
    return send({ kind: "trouble", message: messageOf(error) });
  }
  if (!database.mustSweep) return;
  isSweeping = true;
  setTimeout(() => {
    isSweeping = false;
    sweep();
  }, 1);
}

self.onmessage = ({ data: message }: MessageEvent<ToWorker>) => {
  switch (message.kind) {
    case "open":
      ({ acceptDamage } = message);
      incoming = new SharedBlock(message.requests);
      outgoing = new SharedBlock(message.replies);
      return open(message.folder);
    case "run":
      return run(decodeRequests(incoming!.take(message.requests)));
    case "close":
      room = undefined;
      database?.close();
      database = undefined;
      return send({ kind: "closed" });
  }
};
