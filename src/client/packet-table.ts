/**
 * A table of what a client keeps by packet id, in the order in which it was put there. A `Map` would do, but for Node's
 * engine: whenever a map whose entries come and go makes itself a new table, the one before goes on pointing at it, and
 * at its own entries; once one of them is in the old generation, all garbage behind it is copied there, until a full
 * collection: that was two thirds of the time that a message at QoS 1 took. Here an entry lies in the slot `packet id
 * mod capacity`: packet ids are counted up, so those in use are near each other.
 */
const capacityMin = 16;
/** A table that has become empty is let go of when it is larger than this. */
const capacityKept = 1024;
/** Shared by all tables that have nothing: most clients have nothing under way. */
const noIds = new Uint16Array(0);
const noPlaces = new Float64Array(0);

export class PacketTable<Entry> {
  #entries: (Entry | undefined)[] = [];
  #ids = noIds;
  /** When each was put there, by a number that counts up. */
  #places = noPlaces;
  #nextPlace = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): Entry | undefined {
    const slot = id & (this.#entries.length - 1);
    return this.#ids[slot] === id ? this.#entries[slot] : undefined;
  }

  has(id: number): boolean {
    return this.get(id) !== undefined;
  }

  /** Puts an entry under an id; one that is there already gives its place to it. */
  set(id: number, entry: Entry): void {
    if (this.get(id) !== undefined) {
      this.#entries[id & (this.#entries.length - 1)] = entry;
      return;
    }
    while (this.#entries.length === 0 || this.#entries[id & (this.#entries.length - 1)] !== undefined) this.#grow();
    this.#put(id, entry, this.#nextPlace++);
    this.#size++;
  }

  delete(id: number): boolean {
    if (this.get(id) === undefined) return false;
    this.#entries[id & (this.#entries.length - 1)] = undefined;
    this.#size--;
    if (this.#size === 0 && this.#entries.length > capacityKept) this.clear();
    return true;
  }

  clear(): void {
    this.#size = 0;
    this.#entries = [];
    this.#ids = noIds;
    this.#places = noPlaces;
  }

  /** All there are now, with their ids, in the order in which they were put there. */
  entries(): [id: number, entry: Entry][] {
    return this.#slots().map((slot) => [this.#ids[slot]!, this.#entries[slot]!]);
  }

  keys(): number[] {
    return this.#slots().map((slot) => this.#ids[slot]!);
  }

  values(): Entry[] {
    return this.#slots().map((slot) => this.#entries[slot]!);
  }

  #slots(): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < this.#entries.length; slot++) if (this.#entries[slot] !== undefined) slots.push(slot);
    return slots.sort((a, b) => this.#places[a]! - this.#places[b]!);
  }

  #put(id: number, entry: Entry, place: number): void {
    const slot = id & (this.#entries.length - 1);
    this.#entries[slot] = entry;
    this.#ids[slot] = id;
    this.#places[slot] = place;
  }

  /** Entries that lay in different slots do so in a table of twice the size, too. */
  #grow(): void {
    const [entries, ids, places] = [this.#entries, this.#ids, this.#places];
    this.#resize(Math.max(capacityMin, entries.length * 2));
    for (const [slot, entry] of entries.entries()) if (entry !== undefined) this.#put(ids[slot]!, entry, places[slot]!);
  }

  #resize(capacity: number): void {
    this.#entries = new Array<Entry | undefined>(capacity).fill(undefined);
    this.#ids = new Uint16Array(capacity);
    this.#places = new Float64Array(capacity);
  }
}
