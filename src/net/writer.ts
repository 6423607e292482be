/**
 * A connection's output. Everything that is appended in one turn of the event loop leaves in one write; what
 * the kernel does not take stays, with an offset, until it drains. A connection without output owns no buffer.
 */
import { copyBytes, noBytes } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { outputBytesLow, outputBytesMax, sliceMs, writerFlushBytes } from "../base/limits.ts";
import { returnBuffer, takeBuffer } from "./buffer-pool.ts";
import type { Transport } from "./transport.ts";

/** A range of at least this size that is the turn's first output is not copied but lent until the flush. */
const loanBytesMin = 1024;
/** A range that never changes is lent, not copied, from this size on. */
const lendBytesMin = 64 * 1024;
/** Bytes of such a range that are handed to the kernel at once, at most. */
const writeBytesMax = 1024 * 1024;
/** Connections that are written to before the time is asked for. */
const flushedAtOnce = 64;
/** Bytes of such ranges that all writers together hand to the kernel in one turn, at most, or `writeBytesMax` more. */
const turnBytesMax = 4 * 1024 * 1024;

interface Segment {
  readonly bytes: Uint8Array;
  start: number;
  readonly end: number;
  /** True if it is somebody else's memory; else it is a buffer that goes back to the pool. */
  readonly isLent: boolean;
}

export class Writer {
  buffer: Uint8Array = noBytes;
  /** Packets that were appended since the last flush, but for PUBLISH: who encodes one adds it. */
  packets = 0;
  readonly #transport: Transport;
  readonly #turn: Turn;
  /** Bytes of `buffer` that are filled, and of those, sent. */
  #length = 0;
  #sent = 0;
  /** A range of somebody else's chunk, to be written before `buffer`; it is given back within the turn. */
  #loan: Uint8Array | undefined;
  #loanStart = 0;
  #loanEnd = 0;
  #scheduled = false;
  /**
   * Output that comes before the loan and `buffer`: ranges that were lent for as long as it takes, and what was
   * buffered before each.
   */
  #queue: Segment[] = [];
  #queuedBytes = 0;
  #lentBytes = 0;
  /** The kernel's buffer is full: wait for `drained`. */
  #blocked = false;
  #closed = false;
  /** The part of `unsent` that the turn has been told of. */
  #counted = 0;
  readonly #relieved: () => void;
  /** True if `outputBytesLow` or more was unsent since there was last nothing: somebody may wait for room. */
  #wasFull = false;

  /**
   * `relieved` is called, in a later turn, when the kernel has taken all of an output in which others may have found no
   * room (`outputBytesLow`). Where the kernel was full in between, its transport tells so instead, by `drained`.
   */
  constructor(transport: Transport, turn: Turn, relieved: () => void = () => {}) {
    this.#transport = transport;
    this.#turn = turn;
    this.#relieved = relieved;
  }

  /** Bytes that the kernel has taken, ever. */
  taken = 0;
  /** Called with what the kernel has taken, before it is used for anything else; undefined: nobody reads along. */
  tap: ((bytes: Uint8Array, start: number, end: number) => void) | undefined = undefined;

  /** Bytes that the kernel has not taken. */
  get unsent(): number {
    return this.#queuedBytes + this.#length - this.#sent + (this.#loanEnd - this.#loanStart);
  }

  /** Unsent bytes in this writer's own buffers, without those that are lent, which may be a single large message. */
  get buffered(): number {
    return this.unsent - this.#lentBytes;
  }

  /**
   * The memory that it keeps, in bytes. What was lent counts unless it is in `seen`, to which it is added: the same
   * message may have been lent to many.
   */
  memoryBytes(seen: Set<Uint8Array>): number {
    let bytes = this.buffer.length;
    for (const segment of this.#queue) {
      if (segment.isLent && seen.has(segment.bytes)) continue;
      if (segment.isLent) seen.add(segment.bytes);
      bytes += segment.bytes.length;
    }
    return bytes;
  }

  reserve(count: number): number {
    if (this.#loan !== undefined) this.#ownLoan();
    if (this.#length >= writerFlushBytes && !this.#blocked) this.flush();
    if (this.#length + count > this.buffer.length) this.#grow(count);
    if (!this.#scheduled) this.#schedule();
    const at = this.#length;
    this.#length += count;
    return at;
  }

  append(bytes: Uint8Array, start: number, end: number): void {
    const count = end - start;
    if (count >= loanBytesMin && this.#length === 0 && this.#loan === undefined && !this.#closed) {
      this.#loan = bytes;
      this.#loanStart = start;
      this.#loanEnd = end;
      if (!this.#scheduled) this.#schedule();
      return;
    }
    const at = this.reserve(count);
    copyBytes(this.buffer, at, bytes, start, end);
  }

  /** Appends a whole packet, and counts it; PUBLISH is counted elsewhere. */
  appendPacket(bytes: Uint8Array): void {
    this.append(bytes, 0, bytes.length);
    this.packets++;
  }

  /** Appends a range that never changes: it is written from where it lies, however long that takes. */
  lend(bytes: Uint8Array, start: number, end: number): void {
    if (end - start < lendBytesMin || this.#closed) return this.append(bytes, start, end);
    if (this.#loan !== undefined) this.#ownLoan();
    if (this.#length > this.#sent)
      this.#enqueue({ bytes: this.buffer, start: this.#sent, end: this.#length, isLent: false });
    else returnBuffer(this.buffer);
    this.buffer = noBytes;
    this.#length = this.#sent = 0;
    this.#enqueue({ bytes, start, end, isLent: true });
    if (!this.#scheduled) this.#schedule();
  }

  #enqueue(segment: Segment): void {
    this.#queue.push(segment);
    this.#took(segment, segment.start - segment.end);
  }

  /** Counts bytes of a segment that have been written; negative: that are to be written. */
  #took({ isLent }: Segment, count: number): void {
    this.#queuedBytes -= count;
    if (isLent) this.#lentBytes -= count;
  }

  /** Writes what there is. */
  flush(): void {
    this.#flush();
    if (!this.#wasFull || this.unsent > 0) return;
    this.#wasFull = false;
    this.#turn.later(() => {
      if (!this.#closed) this.#relieved();
    });
  }

  #flush(): void {
    this.#scheduled = false;
    this.#turn.packetsWritten += this.packets;
    this.packets = 0;
    if (this.#closed) return this.#giveBack();
    if (this.unsent >= outputBytesLow) this.#wasFull = true;
    if (this.#blocked || !this.#writeAll()) return this.#count();
    this.#giveBack();
    if (this.#counted !== 0) this.#count();
  }

  /** The output is written in a later turn: what is lent for this one is copied. */
  defer(): void {
    if (this.#loan !== undefined) this.#ownLoan();
  }

  /** The kernel takes bytes again. Whoever tells it so lets those go on that wait for room. */
  drained(): void {
    this.#blocked = false;
    this.#flush();
    if (this.unsent === 0) this.#wasFull = false;
  }

  /** Forgets everything; later output goes nowhere. */
  close(): void {
    this.#closed = true;
    this.#loan = undefined;
    this.#loanStart = this.#loanEnd = 0;
    this.#queue = [];
    this.#queuedBytes = this.#lentBytes = 0;
    this.#giveBack();
    this.#count();
  }

  /** False if the kernel takes no more. */
  #writeAll(): boolean {
    if (this.#queue.length > 0 && !this.#writeQueue()) return false;
    if (this.#loan !== undefined && !this.#writeLoan()) return false;
    if (this.#length > this.#sent) this.#sent += this.#write(this.buffer, this.#sent, this.#length);
    this.#blocked = this.#sent < this.#length;
    return !this.#blocked;
  }

  /** False if the kernel takes no more, or has taken much: then what is lent for this turn only is copied. */
  #writeQueue(): boolean {
    const turn = this.#turn;
    const before = this.taken;
    for (let segment = this.#queue[0]; segment !== undefined; segment = this.#queue[0]) {
      while (segment.start < segment.end) {
        if (turn.lentRoom <= 0) {
          // Readers as fast as we are would keep us from everybody else.
          if (!this.#scheduled) this.#schedule(this.taken === before ? "first" : "last");
          if (this.#loan !== undefined) this.#ownLoan();
          return false;
        }
        const end = Math.min(segment.end, segment.start + writeBytesMax);
        const taken = this.#write(segment.bytes, segment.start, end);
        segment.start += taken;
        this.#took(segment, taken);
        turn.lentRoom -= taken;
        this.#blocked = segment.start < end;
        if (!this.#blocked) continue;
        if (this.#loan !== undefined) this.#ownLoan();
        return false;
      }
      this.#queue.shift();
      if (!segment.isLent) returnBuffer(segment.bytes);
    }
    return true;
  }

  #count(): void {
    const { unsent } = this;
    this.#turn.count(unsent - this.#counted);
    this.#counted = unsent;
  }

  #write(bytes: Uint8Array, start: number, end: number): number {
    const taken = this.#transport.write(bytes, start, end);
    if (this.tap !== undefined && taken > 0) this.tap(bytes, start, start + taken);
    this.taken += taken;
    this.#turn.bytesWritten += taken;
    return taken;
  }

  #schedule(place: "first" | "last" = "last"): void {
    this.#scheduled = true;
    this.#turn.add(this, place);
  }

  #writeLoan(): boolean {
    this.#loanStart += this.#write(this.#loan!, this.#loanStart, this.#loanEnd);
    if (this.#loanStart === this.#loanEnd) {
      this.#loan = undefined;
      return true;
    }
    this.#blocked = true;
    this.#ownLoan();
    return false;
  }

  /** Copies the loan into the buffer, which is empty while there is one. */
  #ownLoan(): void {
    const loan = this.#loan!;
    const count = this.#loanEnd - this.#loanStart;
    this.#loan = undefined;
    if (count > this.buffer.length) this.#grow(count);
    this.buffer.set(loan.subarray(this.#loanStart, this.#loanEnd), 0);
    this.#loanStart = this.#loanEnd = 0;
    this.#length = count;
  }

  #grow(count: number): void {
    const unsent = this.#length - this.#sent;
    const needed = unsent + count;
    if (needed <= this.buffer.length / 2) {
      this.buffer.copyWithin(0, this.#sent, this.#length);
    } else {
      const grown = takeBuffer(needed);
      grown.set(this.buffer.subarray(this.#sent, this.#length));
      returnBuffer(this.buffer);
      this.buffer = grown;
    }
    this.#sent = 0;
    this.#length = unsent;
  }

  #giveBack(): void {
    this.#length = this.#sent = 0;
    if (this.buffer.length === 0) return;
    returnBuffer(this.buffer);
    this.buffer = noBytes;
  }
}

/**
 * The writers touched in this turn. What a chunk of input causes is written when the chunk is done, between
 * `begin` and `end`; what anything else causes, at the end of the event loop's turn, through `schedule`.
 */
export class Turn {
  readonly #schedule: (flush: () => void) => void;
  readonly #clock: Pick<Clock, "now"> | undefined;
  #writers: Writer[] = [];
  #firstWriters: Writer[] = [];
  #begun = false;
  /** Bytes that all writers' kernels have not taken, about. */
  #unsent = 0;
  readonly #unsentBytesMax: number;
  /** Unsent output that one subscriber may have at QoS 0: less when all together have too much. */
  outputBytesMax = outputBytesMax;
  /** Bytes of large ranges that may still be handed to the kernel in this turn. */
  lentRoom = turnBytesMax;
  /** Bytes that all its writers have written, ever. */
  bytesWritten = 0;
  /** Packets other than PUBLISH that all its writers have been given, ever. */
  packetsWritten = 0;

  /** `clock`: so that a message to thousands is written in several turns. Without: in one. */
  constructor(
    schedule: (flush: () => void) => void,
    unsentBytesMax = Infinity,
    clock: Pick<Clock, "now"> | undefined = undefined,
  ) {
    this.#schedule = schedule;
    this.#unsentBytesMax = unsentBytesMax;
    this.#clock = clock;
  }

  get unsent(): number {
    return this.#unsent;
  }

  /** Counts a change of the unsent bytes. */
  count(change: number): void {
    this.#unsent += change;
    this.outputBytesMax = this.#unsent > this.#unsentBytesMax ? outputBytesLow : outputBytesMax;
  }

  /** Has a writer write in the next turn. First: it has had no turn in this one. */
  add(writer: Writer, place: "first" | "last"): void {
    if (this.#writers.length + this.#firstWriters.length === 0 && !this.#begun) this.#schedule(this.flush);
    if (place === "first") this.#firstWriters.push(writer);
    else this.#writers.push(writer);
  }

  /** Does something in a later turn. */
  later(go: () => void): void {
    this.#schedule(go);
  }

  begin(): void {
    this.#begun = true;
  }

  end(): void {
    this.#begun = false;
    this.flush();
  }

  readonly flush = (): void => {
    let writers = this.#writers;
    if (this.#firstWriters.length > 0) {
      writers = [...this.#firstWriters, ...writers];
      this.#firstWriters = [];
    }
    if (writers.length === 0) return;
    this.#writers = [];
    this.lentRoom = turnBytesMax;
    if (writers.length > flushedAtOnce && this.#clock !== undefined) return this.#flushSome(writers, this.#clock);
    for (const writer of writers) writer.flush();
  };

  /** Writes as many as a slice of the event loop has room for; the others have the next turn. */
  #flushSome(writers: readonly Writer[], clock: Pick<Clock, "now">): void {
    const until = clock.now() + sliceMs;
    let at = 0;
    do {
      for (const end = Math.min(at + flushedAtOnce, writers.length); at < end; at++) writers[at]!.flush();
    } while (at < writers.length && clock.now() < until);
    if (at === writers.length) return;
    // What the writes have brought about stands behind them.
    for (const writer of writers.slice(at)) {
      writer.defer();
      this.add(writer, "first");
    }
  }
}
