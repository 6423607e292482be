/**
 * Deadlines in one binary heap. A timer is an object that its owner keeps. To move a deadline later is free:
 * when the old one comes due the heap sees that `dueAt` has moved and sorts the timer in again. That makes
 * keep-alive, which moves with every packet, cost nothing per packet.
 */
export class Timer {
  fire: (now: number) => void;
  /** When to fire; Infinity: never. */
  dueAt = Infinity;
  /** The heap entry that counts; older ones of the same timer are skipped. */
  entry: Entry | undefined;

  constructor(fire: (now: number) => void) {
    this.fire = fire;
  }
}

function nothing(): void {}

/** Entries that count no more are not looked for while there are so few of them. */
const deadEntriesMin = 1024;

interface Entry {
  readonly timer: Timer;
  readonly at: number;
}

export class Timers {
  #heap: Entry[] = [];
  /** Entries of the heap that count no more. */
  #dead = 0;
  /** Called when the next deadline has become sooner than it was. */
  onSooner: () => void = () => {};

  set(timer: Timer, dueAt: number): void {
    timer.dueAt = dueAt;
    if (timer.entry !== undefined && timer.entry.at <= dueAt) return;
    if (timer.entry !== undefined) this.#dead++;
    timer.entry = { timer, at: dueAt };
    const sooner = dueAt < this.nextDeadline();
    this.#push(timer.entry);
    if (sooner) this.onSooner();
  }

  /**
   * Cancels a timer for good. Its entry goes when its time comes, or when most of the heap is such entries; what it
   * would have touched can go before.
   */
  cancel(timer: Timer): void {
    timer.dueAt = Infinity;
    timer.fire = nothing;
    if (timer.entry === undefined) return;
    timer.entry = undefined;
    this.#dead++;
    if (this.#dead > deadEntriesMin && this.#dead > this.#heap.length / 2) this.#clean();
  }

  /** Entries in the heap, those that count no more among them. */
  get size(): number {
    return this.#heap.length;
  }

  nextDeadline(): number {
    return this.#heap[0]?.at ?? Infinity;
  }

  /** Fires what is due, until `isOver` says so after one of them: the rest stays due. */
  tick(now: number, isOver: () => boolean = () => false): void {
    for (let top = this.#heap[0]; top !== undefined && top.at <= now; top = this.#heap[0]) {
      this.#pop();
      const timer = top.timer;
      if (timer.entry !== top) {
        this.#dead--;
        continue;
      }
      timer.entry = undefined;
      if (timer.dueAt === Infinity) continue;
      if (timer.dueAt > now) {
        this.set(timer, timer.dueAt);
        continue;
      }
      timer.dueAt = Infinity;
      timer.fire(now);
      if (isOver()) return;
    }
  }

  /** Connections that last a moment leave deadlines that are far away: they must not gather. */
  #clean(): void {
    // What is sorted is a heap.
    this.#heap = this.#heap.filter((entry) => entry.timer.entry === entry).sort((a, b) => a.at - b.at);
    this.#dead = 0;
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]!.at <= entry.at) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++;
      if (heap[child]!.at >= last.at) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}
