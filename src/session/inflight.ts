/**
 * The window of QoS 1 and 2 messages sent and not yet acknowledged, by packet id. A ring of slots: packet id
 * `p` lives in slot `p mod capacity`, so that taking, finding and freeing an id are array accesses. The ring
 * begins empty and grows by doubling to the window's size.
 */
const packetIdMax = 65_535;

/**
 * How much of the window an entry takes. room: something of it is under way to the client. exchange: that is so, and
 * its packet id is taken until the client gives it back (QoS 2). id: nothing is under way, and its packet id is taken
 * until then. place: its packet id is kept for what will be put there.
 */
export type Takes = "room" | "exchange" | "id" | "place";

export interface InflightOptions<Entry> {
  /** At most so many packet ids are taken, when something new is to be sent: those that are only kept do not count. */
  readonly idsMax: number;
  readonly takes: (entry: Entry) => Takes;
}

export class Inflight<Entry> {
  /** At most this many at once: the client's Receive Maximum, and the broker's own limit. */
  readonly limit: number;
  readonly #idsMax: number;
  readonly #takes: (entry: Entry) => Takes;
  #entries: (Entry | undefined)[] = [];
  #ids = new Uint16Array(0);
  #size = 0;
  /** How much each entry took when it was put into its slot: it may change while it is there. */
  #taken: Takes[] = [];
  #idsOnly = 0;
  #places = 0;
  #exchanges = 0;
  #lastId = 0;

  constructor(limit: number, { idsMax = packetIdMax, takes = () => "room" }: Partial<InflightOptions<Entry>> = {}) {
    this.limit = limit;
    this.#idsMax = Math.min(idsMax, packetIdMax);
    this.#takes = takes;
  }

  get size(): number {
    return this.#size;
  }

  /** The number of packet ids that are taken until the client gives them back. */
  get exchanges(): number {
    return this.#exchanges + this.#idsOnly;
  }

  /** The number of packet ids that are only kept. */
  get places(): number {
    return this.#places;
  }

  /** True if nothing more may be sent before something is acknowledged [MQTT-3.3.4-9]. */
  get full(): boolean {
    const taken = this.#size - this.#places;
    return taken - this.#idsOnly >= this.limit || taken >= this.#idsMax || this.#size >= packetIdMax;
  }

  /** Takes the next free packet id for an entry. The window must not be full. */
  add(entry: Entry): number {
    // Ids whose slot is taken by another one are passed over; at half load or less there is one near.
    if (this.#size * 2 >= this.#entries.length) this.#grow();
    const mask = this.#entries.length - 1;
    let id = this.#lastId;
    do {
      id = id === packetIdMax ? 1 : id + 1;
    } while (this.#entries[id & mask] !== undefined);
    this.#lastId = id;
    this.#place(id, entry);
    return id;
  }

  /** Puts an entry under an id it had before; false if the id is taken. */
  restore(id: number, entry: Entry): boolean {
    if (this.get(id) !== undefined) return false;
    while (this.#entries.length === 0 || this.#entries[id & (this.#entries.length - 1)] !== undefined) this.#grow();
    this.#place(id, entry);
    return true;
  }

  /** Puts an entry under an id that is free or held by `holder`; false if another entry has it. */
  claim(id: number, entry: Entry, holder: Entry): boolean {
    if (this.get(id) === holder) {
      this.replace(id, entry);
      return true;
    }
    return this.restore(id, entry);
  }

  get(id: number): Entry | undefined {
    const slot = id & (this.#entries.length - 1);
    return this.#ids[slot] === id ? this.#entries[slot] : undefined;
  }

  /** Replaces the entry of an id that is taken. */
  replace(id: number, entry: Entry): void {
    const slot = id & (this.#entries.length - 1);
    this.#count(slot, -1);
    this.#entries[slot] = entry;
    this.#taken[slot] = this.#takes(entry);
    this.#count(slot, 1);
  }

  remove(id: number): void {
    const slot = id & (this.#entries.length - 1);
    const entry = this.#entries[slot];
    if (this.#ids[slot] !== id || entry === undefined) return;
    this.#entries[slot] = undefined;
    this.#size--;
    this.#count(slot, -1);
  }

  /** All entries, in no order. */
  *all(): Generator<Entry> {
    for (const entry of this.#entries) if (entry !== undefined) yield entry;
  }

  /** Empties the window and returns what was in it, with the ids, in no order. */
  drain(): [id: number, entry: Entry][] {
    const all: [number, Entry][] = [];
    for (let slot = 0; slot < this.#entries.length; slot++) {
      const entry = this.#entries[slot];
      if (entry !== undefined) all.push([this.#ids[slot]!, entry]);
    }
    this.#entries = [];
    this.#ids = new Uint16Array(0);
    this.#taken = [];
    this.#size = this.#idsOnly = this.#places = this.#exchanges = 0;
    return all;
  }

  #place(id: number, entry: Entry, takes = this.#takes(entry)): void {
    const slot = id & (this.#entries.length - 1);
    this.#entries[slot] = entry;
    this.#ids[slot] = id;
    this.#taken[slot] = takes;
    this.#size++;
    this.#count(slot, 1);
  }

  #count(slot: number, by: 1 | -1): void {
    const takes = this.#taken[slot];
    if (takes === "exchange") this.#exchanges += by;
    else if (takes === "id") this.#idsOnly += by;
    else if (takes === "place") this.#places += by;
  }

  #grow(): void {
    const entries = this.#entries;
    const ids = this.#ids;
    const taken = this.#taken;
    const capacity = Math.max(16, entries.length * 2);
    this.#entries = new Array(capacity);
    this.#ids = new Uint16Array(capacity);
    this.#taken = new Array(capacity);
    this.#size = this.#idsOnly = this.#places = this.#exchanges = 0;
    for (let slot = 0; slot < entries.length; slot++) {
      const entry = entries[slot];
      if (entry !== undefined) this.#place(ids[slot]!, entry, taken[slot]);
    }
  }
}
