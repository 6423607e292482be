/**
 * A client's store in the browser's IndexedDB. A lock of the page's keeps others from the same store, and goes with the
 * page, however that ends. What is written has survived the page when its transaction is complete.
 */
import { storeLockMs } from "../base/client-limits.ts";
import { messageOf } from "../base/errors.ts";
import { StoreFailed } from "./errors.ts";
import type { Kept, Store, StoreChange, StoredMessage } from "./store.ts";

/** The part of IndexedDB and of the Web Locks that is used here: this code is checked without a browser's types. */
interface Request<Result> {
  readonly result: Result;
  readonly error: unknown;
  onsuccess: (() => void) | null;
  onerror: (() => void) | null;
}

interface OpenRequest extends Request<Database> {
  onupgradeneeded: (() => void) | null;
}

interface Database {
  createObjectStore(name: string): unknown;
  transaction(names: readonly string[], mode: string, options: { durability: string }): Transaction;
  close(): void;
}

interface Transaction {
  readonly error: unknown;
  objectStore(name: string): Table;
  commit(): void;
  oncomplete: (() => void) | null;
  onabort: (() => void) | null;
}

interface Table {
  put(value: unknown, key: number | string): unknown;
  delete(key: number): unknown;
  clear(): unknown;
  get(key: string): Request<unknown>;
  getAll(): Request<unknown[]>;
  getAllKeys(): Request<number[]>;
}

export interface BrowserDoors {
  readonly indexedDB: { open(name: string, version: number): OpenRequest };
  /** Undefined on pages that have not come over HTTPS, nor from this machine. */
  readonly locks:
    | { request(name: string, options: { signal: AbortSignal }, run: () => Promise<void>): Promise<void> }
    | undefined;
}

const format = 1;
/** Messages by their keys; under the same keys the packet ids of those that went out, and which are released. */
const tables = ["client", "messages", "sent", "released", "received"] as const;

export class IndexedDbStore implements Store {
  readonly #name: string;
  readonly #doors: BrowserDoors;
  #database: Database | undefined;
  #unlock: (() => void) | undefined;

  constructor(name: string, doors: BrowserDoors) {
    this.#name = name;
    this.#doors = doors;
  }

  /** Rejects with `StoreFailed`. */
  async open(clientId: string): Promise<Kept> {
    try {
      await this.#lock();
      this.#database = await this.#openDatabase();
      return await this.#read(this.#database, clientId);
    } catch (error) {
      this.close();
      if (error instanceof StoreFailed) throw error;
      throw this.#failed(error);
    }
  }

  /** Resolves when the changes have survived the page. Rejects with `StoreFailed`. */
  async write(changes: readonly StoreChange[], { isDurable }: { readonly isDurable: boolean }): Promise<void> {
    try {
      if (this.#database === undefined) throw new Error("it is closed");
      const transaction = this.#database.transaction([...tables], "readwrite", {
        durability: isDurable ? "strict" : "relaxed",
      });
      for (const change of changes) make(transaction, change);
      transaction.commit();
      await completed(transaction);
    } catch (error) {
      throw this.#failed(error);
    }
  }

  close(): void {
    // Transactions that have begun come to their end.
    this.#database?.close();
    this.#database = undefined;
    this.#unlock?.();
    this.#unlock = undefined;
  }

  /** Takes the lock, which a page that has just gone may still have. Rejects with `StoreFailed`. */
  #lock(): Promise<void> {
    const { locks } = this.#doors;
    if (locks === undefined)
      throw new StoreFailed("a store needs a page that has come over HTTPS (or from localhost): only there are locks");
    return new Promise((resolve, reject) => {
      const signal = AbortSignal.timeout(storeLockMs);
      const hold = (): Promise<void> =>
        new Promise((unlock) => {
          this.#unlock = unlock;
          resolve();
        });
      locks
        .request(`mqttzoo ${this.#name}`, { signal }, hold)
        .catch(() =>
          reject(new StoreFailed(`the store ${this.#name} is in use by another client, maybe in another tab`)),
        );
    });
  }

  #openDatabase(): Promise<Database> {
    const request = this.#doors.indexedDB.open(this.#name, format);
    request.onupgradeneeded = () => {
      for (const table of tables) request.result.createObjectStore(table);
    };
    return resultOf(request);
  }

  async #read(database: Database, clientId: string): Promise<Kept> {
    const transaction = database.transaction([...tables], "readwrite", { durability: "strict" });
    const [owner, keys, messages, ...rest] = await Promise.all([
      resultOf(transaction.objectStore("client").get("id")),
      resultOf(transaction.objectStore("messages").getAllKeys()),
      resultOf(transaction.objectStore("messages").getAll()),
      resultOf(transaction.objectStore("sent").getAllKeys()),
      resultOf(transaction.objectStore("sent").getAll()),
      resultOf(transaction.objectStore("released").getAllKeys()),
      resultOf(transaction.objectStore("received").getAllKeys()),
    ]);
    const [sentKeys, packetIds, released, received] = rest;
    if (owner === undefined) transaction.objectStore("client").put(clientId, "id");
    await completed(transaction);
    if (owner !== undefined && owner !== clientId)
      throw new StoreFailed(
        `the store ${this.#name} is of the client ${JSON.stringify(owner)}, not ${JSON.stringify(clientId)}`,
      );
    const packetIdOf = new Map(sentKeys.map((key, at) => [key, packetIds[at] as number]));
    const isReleased = new Set(released);
    return {
      messages: keys.map((key, at) => ({
        key,
        packetId: packetIdOf.get(key),
        isReleased: isReleased.has(key),
        message: messages[at] as StoredMessage,
      })),
      received,
    };
  }

  #failed(error: unknown): StoreFailed {
    const { name } = (error ?? {}) as { readonly name?: unknown };
    const words =
      name === "QuotaExceededError" ? "has no room: the browser gives this page no more" : `fails: ${messageOf(error)}`;
    return new StoreFailed(`the store ${this.#name} ${words}`, { cause: error });
  }
}

function make(transaction: Transaction, change: StoreChange): void {
  const [messages, sent, released, received] = ["messages", "sent", "released", "received"].map((name) =>
    transaction.objectStore(name),
  ) as [Table, Table, Table, Table];
  switch (change.kind) {
    case "add": {
      const { payload, properties } = change.message;
      messages.put({ ...change.message, payload: alone(payload), properties: alone(properties) }, change.key);
      return;
    }
    case "sent":
      released.delete(change.key);
      if (change.packetId === undefined) sent.delete(change.key);
      else sent.put(change.packetId, change.key);
      return;
    case "released":
      released.put(true, change.key);
      return;
    case "removed":
      for (const table of [messages, sent, released]) table.delete(change.key);
      return;
    case "received":
      received.put(true, change.packetId);
      return;
    case "forgotten":
      received.delete(change.packetId);
      return;
    case "all forgotten":
      received.clear();
  }
}

/** Returns bytes that are all of their buffer: of a part, the whole buffer would be stored. */
function alone(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
}

function resultOf<Result>(request: Request<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function completed(transaction: Transaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("the browser has given the transaction up"));
  });
}
