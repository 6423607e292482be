/** A FIFO queue on a growing circular array: no shifting, and no memory until it is used. */
export class Ring<Item> {
  #items: (Item | undefined)[] = [];
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(item: Item): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#items[(this.#head + this.#length) & (this.#items.length - 1)] = item;
    this.#length++;
  }

  /** Pushes an item before all at the end that it comes before: cheap where most come in order. */
  insert(item: Item, comesBefore: (a: Item, b: Item) => boolean): void {
    this.push(item);
    const mask = this.#items.length - 1;
    for (let index = this.#length - 1; index > 0; index--) {
      const at = (this.#head + index) & mask;
      const before = (this.#head + index - 1) & mask;
      if (!comesBefore(item, this.#items[before]!)) return;
      this.#items[at] = this.#items[before];
      this.#items[before] = item;
    }
  }

  unshift(item: Item): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#head = (this.#head - 1) & (this.#items.length - 1);
    this.#items[this.#head] = item;
    this.#length++;
  }

  peek(): Item | undefined {
    return this.#length === 0 ? undefined : this.#items[this.#head];
  }

  /** The item at a distance from the head: `at(0)` is `peek()`. */
  at(index: number): Item | undefined {
    return index < this.#length ? this.#items[(this.#head + index) & (this.#items.length - 1)] : undefined;
  }

  shift(): Item | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#items.length - 1);
    this.#length--;
    if (this.#length === 0 && this.#items.length > 64) this.clear();
    return item;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
    this.#length = 0;
  }

  /** Empties the ring and returns what was in it, oldest first. */
  drain(): Item[] {
    const items: Item[] = [];
    for (let item = this.shift(); item !== undefined; item = this.shift()) items.push(item);
    return items;
  }

  #grow(): void {
    const capacity = Math.max(8, this.#items.length * 2);
    const items = new Array<Item | undefined>(capacity);
    for (let index = 0; index < this.#length; index++) {
      items[index] = this.#items[(this.#head + index) & (this.#items.length - 1)];
    }
    this.#items = items;
    this.#head = 0;
  }
}
