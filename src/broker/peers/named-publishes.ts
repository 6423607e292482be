/**
 * The publishes that have a name (`link/delivery-frame.ts`), as far as this broker's sessions that end with their
 * connections have had them: at QoS 2 nobody is sent one twice [MQTT-4.3.3-10], whichever broker sends it. Each broker
 * sends its own in the order of their transactions, so little has to be remembered of it.
 */
import { namedAheadMax, namingBrokersMax } from "../../base/limits.ts";
import type { HeldBy, PublishName } from "../../link/delivery-frame.ts";

/** The publishes of one broker's process. */
interface OfBroker {
  /** The transaction of the last one that this process has sent itself: it has sent all before, or never will. */
  zxid: number;
  /** The numbers of those of that transaction which it has sent. */
  readonly sent: Set<number>;
  /** The numbers of later ones that the next brokers of their publishers have sent, with their transactions. */
  readonly ahead: Map<number, number>;
}

/** Names this broker's publishes, and knows which of the others' have come. */
export class NamedPublishes {
  readonly #epoch: number;
  #lastNumber = 0;
  /** By the epochs in the names; those that have come first are forgotten first. */
  readonly #brokers = new Map<number, OfBroker>();

  /** `epoch`: the first one of this process. */
  constructor(epoch: number) {
    this.#epoch = epoch;
  }

  /** Returns a name for a publish of this broker, but for the transaction, which is not known yet. */
  next(): HeldBy {
    return { epoch: this.#epoch, number: ++this.#lastNumber };
  }

  /**
   * Notes that a publish has come. Returns false if it had come before, so that nobody is to be sent it. `isAgain`: it
   * is sent by another broker than the one that is named.
   */
  take(name: PublishName, isAgain: boolean): boolean {
    // What this process has committed it sends itself, as soon as it hears of the commit.
    if (name.epoch === this.#epoch) return false;
    const broker = this.#of(name.epoch);
    return isAgain ? takeAgain(broker, name) : takeFirst(broker, name);
  }

  #of(epoch: number): OfBroker {
    let broker = this.#brokers.get(epoch);
    if (broker === undefined) {
      broker = { zxid: 0, sent: new Set(), ahead: new Map() };
      this.#brokers.set(epoch, broker);
      const [oldest] = this.#brokers.keys();
      if (this.#brokers.size > namingBrokersMax) this.#brokers.delete(oldest!);
    }
    return broker;
  }
}

function takeFirst(broker: OfBroker, { number, zxid }: PublishName): boolean {
  const { sent, ahead } = broker;
  const isNew = !ahead.has(number);
  if (zxid > broker.zxid) {
    broker.zxid = zxid;
    sent.clear();
    for (const [other, at] of ahead) if (at < zxid) ahead.delete(other);
  }
  sent.add(number);
  return isNew;
}

function takeAgain({ zxid: last, sent, ahead }: OfBroker, { number, zxid }: PublishName): boolean {
  if (zxid < last || (zxid === last && sent.has(number)) || ahead.has(number)) return false;
  ahead.set(number, zxid);
  const [oldest] = ahead.keys();
  if (ahead.size > namedAheadMax) ahead.delete(oldest!);
  return true;
}
