/** The API's walks over the store, one at a time, each for so long: what is stored by all brokers, and who pays. */
import type { DroppedMessages, FoundMessage, StoreVisitor, UnwantedMail, WantedMessages } from "../api/ports.ts";
import { Problem } from "../api/problem.ts";
import type { HolderKind, HolderRow, StoredRow } from "../api/rows.ts";
import { type Emptied, removeMailOf, removeMessages } from "../audit/remove-mail.ts";
import { holdingsIn } from "../audit/statement.ts";
import * as storedMail from "../audit/stored-mail.ts";
import { milli } from "../bank/price.ts";
import { apiPatienceMs, clearedAtOnceMax, clearedNamesMax } from "../base/api-limits.ts";
import { ignoreTheWorld, messageOf } from "../base/errors.ts";
import type { Broker } from "../broker/broker.ts";
import { currentStore } from "../coordinator/mirror.ts";
import { walkOrder } from "../coordinator/tree-walk.ts";
import { quietReader } from "../mail/record-reader.ts";
import { parseFilter } from "../mqtt/topic.ts";
import { within } from "./api-patience.ts";

/** Returns true when nobody waits for the walk any more. */
type IsOver = () => boolean;

/** Walks over the store for the API. */
export class StoreWalks {
  readonly #broker: Broker;
  #isBusy = false;

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  /** Finds stored messages; see `Reading`. */
  stored({ filter, clientId, after }: WantedMessages, { found, done }: StoreVisitor<FoundMessage>): void {
    this.#walk(
      async (walked, isOver) => {
        for await (const { messages, ahead } of storedMail.findMail(walked, {
          levels: levelsOf(filter),
          clientId,
          after,
        })) {
          const some = messages.map((message) => ({ place: walkOrder(message.path), row: storedRow(message) }));
          const place = ahead === undefined ? undefined : walkOrder(ahead);
          if (isOver() || !(await new Promise<boolean>((goOn) => found(some, place, goOn)))) return;
        }
      },
      (problem) => done(problem),
    );
  }

  waiting(rows: readonly StoredRow[], done: (waiting: ReadonlyMap<string, number> | Problem) => void): void {
    let waiting: ReadonlyMap<string, number> = new Map();
    this.#walk(
      async (walked) => {
        const messages = rows.map(({ path, recipients, retained }) => ({ path, recipients, isRetained: retained }));
        waiting = await storedMail.waitingFor(walked, messages);
      },
      (problem) => done(problem ?? waiting),
    );
  }

  /** Adds up who holds the credits; see `Reading`. */
  holders(by: HolderKind, { found, done }: StoreVisitor<HolderRow>): void {
    const { clock, bankAccount } = this.#broker.context;
    const { capital } = bankAccount;
    this.#walk(
      async (walked, isOver) => {
        for await (const holdings of holdingsIn(walked, { by, now: clock.wall(), isOver })) {
          const rows = [...holdings].map(([holder, { credits, messages, others }]) => ({
            ...{ holder, credits: credits / milli, messages, others },
            percent: capital === 0 ? 0 : Math.round((1000 * credits) / capital) / 10,
          }));
          if (isOver() || !(await new Promise<boolean>((goOn) => found(rows, undefined, goOn)))) return;
        }
      },
      (problem) => done(problem),
    );
  }

  /** Drops stored messages, or counts them; see `Acting`. */
  drop(unwanted: UnwantedMail, done: (dropped: DroppedMessages | Problem) => void): void {
    let told: DroppedMessages = { matched: 0, dropped: 0, paths: [] };
    this.#walk(
      async (walked, isOver) => {
        told = await this.#drop(walked, unwanted, isOver);
      },
      (problem) => done(problem ?? told),
    );
  }

  async #drop(walked: Emptied, { filter, clientId, isDryRun }: UnwantedMail, isOver: IsOver): Promise<DroppedMessages> {
    const levels = levelsOf(filter);
    let matched = 0;
    const first: storedMail.FoundMessage[] = [];
    for await (const { messages } of storedMail.findMail(walked, { levels, clientId })) {
      matched += messages.length;
      first.push(...messages.slice(0, clearedAtOnceMax - first.length));
      if (isOver()) return { matched, dropped: 0, paths: [] };
    }
    const paths = first.slice(0, clearedNamesMax).map(({ path }) => path);
    if (isDryRun) return { matched, dropped: 0, paths };
    const dropped =
      clientId === undefined
        ? await removeMessages(walked, first)
        : await removeMailOf(walked, { clientId, levels, max: clearedAtOnceMax });
    return { matched, dropped, paths };
  }

  /** Has the store walked over; `done` is told a problem if that was not done to its end. */
  #walk(walk: (walked: Emptied, isOver: IsOver) => Promise<void>, done: (problem: Problem | undefined) => void): void {
    if (this.#isBusy)
      return done(new Problem(503, "the store is being walked over for somebody else", { "retry-after": "1" }));
    this.#isBusy = true;
    let isOver = false;
    const told = within(this.#broker, (problem) => {
      isOver = true;
      done(problem?.status === 504 ? new Problem(504, tooLong) : problem);
    });
    const { coordinator } = this.#broker.context;
    const current = currentStore(coordinator);
    const store: Emptied["store"] = {
      read: (operations, answered) => current.read(operations, answered),
      write: (operations, answered) => coordinator.write(operations, answered),
    };
    walk({ store, reader: quietReader }, () => isOver)
      .then(() => undefined)
      .catch((error) => {
        ignoreTheWorld(error);
        return new Problem(503, messageOf(error));
      })
      .then((problem) => {
        this.#isBusy = false;
        told(problem);
      });
  }
}

const tooLong =
  `the store has not been walked over within ${apiPatienceMs / 1000} s; what was to be dropped may be dropped all the ` +
  'same. "mqttzoo bank" takes the time that it needs, with --zk, or --data where the broker runs';

function levelsOf(filter: string | undefined): readonly string[] | undefined {
  return filter === undefined ? undefined : parseFilter(filter)!.levels;
}

function storedRow(message: storedMail.FoundMessage): StoredRow {
  const { path, topic, isRetained, payer, branch, bytes, credits, expiresAt, recipients } = message;
  return {
    ...{ path, topic, retained: isRetained, user: payer === "" ? null : payer, branch, bytes },
    ...{ credits: credits / milli, expires_at: expiresAt === 0 ? null : new Date(expiresAt).toISOString() },
    ...{ recipients, waiting: 0 },
  };
}
