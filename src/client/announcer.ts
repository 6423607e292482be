/**
 * The application is told of things: of the client's status, by any number of listeners and iterators, and of what is
 * worth a line in a log. What a callback throws, or rejects with, is the application's own error: it goes into the log,
 * and must not look like a broken connection, nor end the process.
 */
import { statusBacklogMax } from "../base/client-limits.ts";
import { Ring } from "../base/ring.ts";
import { shownValue } from "./checks.ts";
import type { ClientOptions, LogEntry, LogLevel, Status, WaitOptions } from "./client-options.ts";
import { type Deferred, defer, within } from "./deadlines.ts";
import { ClientClosed, TimedOut } from "./errors.ts";

export type StatusListener = (status: Status) => unknown;

type Result = IteratorResult<Status, undefined>;

export class Announcer {
  readonly #onLog: ClientOptions["onLog"];
  readonly #clientId: string;
  readonly #listeners = new Set<{ readonly name: string; readonly listener: StatusListener }>();
  readonly #iterators = new Set<Statuses>();
  readonly #oldNames = new Set<string>();
  #last: Status = { state: "connecting" };

  constructor({ onStatus, onLog }: ClientOptions, clientId: string) {
    this.#onLog = onLog;
    this.#clientId = clientId;
    if (onStatus !== undefined) this.#listeners.add({ name: "onStatus", listener: onStatus });
  }

  /** Calls a callback of the application's, by its name; what goes wrong in it stands in the log. */
  callBack(name: string, run: () => unknown): void {
    const failed = (error: unknown): void => this.log("error", `${name} has thrown`, error);
    try {
      const returned = run();
      if (returned instanceof Promise) returned.catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  /** Adds a listener; the function that is returned removes it. Throws a `TypeError`. */
  on(event: unknown, listener: StatusListener): () => void {
    if (event !== "status") throw new TypeError(helpOf(event));
    if (typeof listener !== "function") throw new TypeError("a listener must be a function");
    const entry = { name: 'a listener of "status"', listener };
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  /** Iterates the status that there is, and those that follow, until the client has ended. */
  statuses(signal: AbortSignal | undefined): AsyncIterableIterator<Status, undefined> {
    const statuses = new Statuses(signal, () => this.#iterators.delete(statuses));
    statuses.push(this.#last);
    if (this.#last.state !== "closed") this.#iterators.add(statuses);
    return statuses;
  }

  /** Resolves with the first connection. Rejects as `Client.connected` does; `whyEnded` is asked for the cause. */
  async connected({ timeoutMs = Infinity, signal }: WaitOptions, whyEnded: () => unknown): Promise<void> {
    const waiting = new AbortController();
    const late = (): Error => new TimedOut(`no connection within ${timeoutMs} ms`);
    const connecting = (async () => {
      for await (const status of this.statuses(waiting.signal)) {
        if (status.state === "connected") return;
        if (status.state === "closed") throw new ClientClosed(status.why, { cause: whyEnded() });
      }
    })();
    try {
      await within(connecting, { ms: timeoutMs, signal, late });
    } finally {
      waiting.abort();
    }
  }

  announce(status: Status): void {
    this.#last = status;
    for (const statuses of [...this.#iterators]) statuses.push(status);
    for (const { name, listener } of [...this.#listeners]) this.callBack(name, () => listener(status));
  }

  /** An option was given by its old name: the log is told once of each. */
  oldName(old: string, now: string): void {
    if (this.#oldNames.has(old)) return;
    this.#oldNames.add(old);
    this.log("warn", `the option ${old}, in seconds, is called ${now} now, in milliseconds`);
  }

  /** Without a hook of the application's, errors are printed, and nothing else is. */
  log(level: LogLevel, message: string, error?: unknown): void {
    const hook = this.#onLog;
    if (hook === undefined) {
      if (level === "error") print(message, error);
      return;
    }
    const entry: LogEntry = { level, message, clientId: this.#clientId, ...(error === undefined ? {} : { error }) };
    const failed = (thrown: unknown): void => print("onLog has thrown", thrown);
    try {
      const returned: unknown = hook(entry);
      if (returned instanceof Promise) returned.catch(failed);
    } catch (thrown) {
      failed(thrown);
    }
  }
}

/** The statuses that one iterator has not been asked for yet: the newest ones, where it is slow. */
class Statuses implements AsyncIterableIterator<Status, undefined> {
  readonly #ring = new Ring<Status>();
  readonly #waiting: Deferred<Result>[] = [];
  readonly #signal: AbortSignal | undefined;
  readonly #onEnd: () => void;
  #isEnded = false;

  constructor(signal: AbortSignal | undefined, onEnd: () => void) {
    this.#signal = signal;
    this.#onEnd = onEnd;
    if (signal?.aborted === true) this.#isEnded = true;
    else signal?.addEventListener("abort", this.#abort);
  }

  readonly #abort = (): void => this.#end();

  push(status: Status): void {
    if (this.#isEnded) return;
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) waiting.resolve({ value: status, done: false });
    else {
      if (this.#ring.length >= statusBacklogMax) this.#ring.shift();
      this.#ring.push(status);
    }
    if (status.state === "closed") this.#end();
  }

  next(): Promise<Result> {
    const status = this.#ring.shift();
    if (status !== undefined) return Promise.resolve({ value: status, done: false });
    if (this.#isEnded) return Promise.resolve({ value: undefined, done: true });
    const waiting = defer<Result>();
    this.#waiting.push(waiting);
    return waiting.promise;
  }

  return(): Promise<Result> {
    this.#ring.clear();
    this.#end();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#signal?.removeEventListener("abort", this.#abort);
    for (const waiting of this.#waiting.splice(0)) waiting.resolve({ value: undefined, done: true });
    this.#onEnd();
  }
}

function print(message: string, error: unknown): void {
  console.error(`mqttzoo: ${message}`, error);
}

/** Says what stands for an event that other libraries have. */
function helpOf(event: unknown): string {
  const here =
    event === "message"
      ? "messages come from client.messages(pattern)"
      : 'the only event is "status", with the states connecting, connected, reconnecting and closed';
  return `no event ${shownValue(event)}: ${here}`;
}
