/** Judges of sessions that share a subscription, and of those that end with their connections. */
import { decodeUtf8 } from "../../src/base/bytes.ts";
import type { Message } from "../../src/client/connection-options.ts";
import { History, type Sent } from "../chaos/history.ts";
import { Actor, unpadded } from "./actors.ts";

/** The history, and when what happened. */
export class TimedHistory extends History {
  readonly #now: () => number;
  readonly sentAt = new Map<string, number>();
  readonly acknowledgedAt = new Map<string, number>();

  constructor(now: () => number) {
    super();
    this.#now = now;
  }

  override send(message: Sent): string {
    const payload = super.send(message);
    this.sentAt.set(payload, this.#now());
    return payload;
  }

  override acknowledge(payload: string): void {
    super.acknowledge(payload);
    if (!this.acknowledgedAt.has(payload)) this.acknowledgedAt.set(payload, this.#now());
  }
}

/**
 * Finds messages that no member of a group got, though they were acknowledged when all had subscribed. `isDoubtful`: a
 * member's session may have died with its broker, and then nobody knows whether it had got what was under way at QoS 2,
 * which must not come twice.
 */
export function lostToGroup(
  history: TimedHistory,
  members: readonly Actor[],
  { since, isDoubtful }: { readonly since: number; readonly isDoubtful: boolean },
): string[] {
  const received = new Set(members.flatMap(({ name }) => history.receivedBy(name)));
  const judged = history.sent.filter(({ qos }) => qos < 2 || !isDoubtful).map((message) => History.payload(message));
  return judged
    .filter((payload) => history.acknowledgedAt.has(payload) && history.sentAt.get(payload)! >= since)
    .filter((payload) => !received.has(payload))
    .map((payload) => `no member of the group has got ${payload}`);
}

/** A subscriber whose session ends with its connection; it remembers while it was there. */
export class BriefActor extends Actor {
  #since: number | undefined;
  readonly #stays: { readonly from: number; readonly to: number }[] = [];
  readonly #got = new Set<string>();
  /** Messages that it has got in this connection, but for those that were handed to it for being retained. */
  #gotNow = new Set<string>();
  readonly #twice: string[] = [];

  protected override granted(): void {
    this.#since = this.world.now();
  }

  protected override disconnected(): void {
    if (this.#since !== undefined) this.#stays.push({ from: this.#since, to: this.world.now() });
    this.#since = undefined;
    this.#gotNow = new Set();
  }

  protected override received(message: Message): void {
    const payload = unpadded(decodeUtf8(message.payload));
    this.#got.add(payload);
    if (message.qos === 2 && !message.retain) {
      if (this.#gotNow.has(payload)) this.#twice.push(payload);
      this.#gotNow.add(payload);
    }
    super.received(message);
  }

  /** Messages that have come twice in one connection at QoS 2, in words. */
  get twice(): readonly string[] {
    return this.#twice.map((payload) => `${this.name} has got ${payload} twice at QoS 2`);
  }

  /** Messages that were sent while it was there, and acknowledged long before it went, and have not come. */
  missed(history: TimedHistory, graceMs: number): string[] {
    const stays =
      this.#since === undefined ? this.#stays : [...this.#stays, { from: this.#since, to: this.world.now() }];
    return [...history.acknowledgedAt]
      .filter(([payload, at]) => {
        const sentAt = history.sentAt.get(payload)!;
        return !this.#got.has(payload) && stays.some(({ from, to }) => sentAt >= from && at <= to - graceMs);
      })
      .map(([payload]) => `${this.name} was there and has not got ${payload}`);
  }
}
