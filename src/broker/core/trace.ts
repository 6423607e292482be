/**
 * Traces: for a while, and within limits, all that happens to the clients or messages that somebody follows is told in
 * words. The flows ask `isOn` before they say anything, so that nothing is made of it, and nothing paid, as long as
 * nobody follows.
 */
import type { Clock } from "../../base/clock.ts";
import type { AddressRanges } from "../../base/ip-address.ts";
import {
  traceEventsMax,
  tracePayloadBytesMax,
  traceRateMax,
  tracesMax,
  traceTextMax,
} from "../../base/trace-limits.ts";
import type { Publish } from "../../mqtt/publish.ts";
import { topicOf } from "../../mqtt/publish.ts";
import { filterMatches } from "../../mqtt/topic.ts";

/** The kinds of events; see `TraceEvent`. */
export const traceKinds = [
  "connected",
  "disconnected",
  "refused",
  "received",
  "sent",
  "published",
  "arrived",
  "routed",
  "delivered",
  "stored",
  "settled",
  "dropped",
  "skipped",
] as const;
export type TraceKind = (typeof traceKinds)[number];

/** The client whose connection, session or message an event is about. */
export interface TraceSubject {
  readonly clientId: string | undefined;
  /** "": it has no user name. */
  readonly user: string;
  /** The address without its port; "": nobody is connected. */
  readonly address: string;
}

/** An event as the flows tell it. */
export interface Traced {
  readonly kind: TraceKind;
  readonly subject: TraceSubject;
  /** The topic that it is about; undefined: it is about no message. */
  readonly topic?: string | undefined;
  /** Says what happened; called only if somebody follows it. */
  readonly text: () => string;
  /** The reason code of the packet, if it has one. */
  readonly reason?: number | undefined;
  readonly payload?: Uint8Array | undefined;
}

/** An event as it is told to those who follow. */
export interface TraceEvent {
  /** In ms since 1970. */
  readonly at: number;
  readonly kind: TraceKind;
  readonly clientId: string | undefined;
  readonly user: string;
  readonly address: string;
  readonly topic: string | undefined;
  readonly reason: number | undefined;
  readonly text: string;
  /** The first bytes of the payload, if they were asked for. */
  readonly payload: Uint8Array | undefined;
}

/** The clients and messages that are followed: those to which all that is given applies. */
export interface TraceSelection {
  readonly clientId?: string | undefined;
  readonly user?: string | undefined;
  readonly network?: AddressRanges | undefined;
  /** The levels of a topic filter: only what is about messages that it matches. */
  readonly levels?: readonly string[] | undefined;
  /** Bytes of payloads that are shown. */
  readonly payloadBytes: number;
}

/** One trace: its selection, and what has been told of it. */
interface Followed {
  readonly selection: TraceSelection;
  readonly tell: (event: TraceEvent) => void;
  /** The second that is counted, the events in it, and those that were left out of it. */
  second: number;
  inSecond: number;
  skipped: number;
  told: number;
}

/** Follows clients and messages. */
export class Trace {
  /** True while somebody follows something. */
  isOn = false;
  /** True while somebody follows clients, users or addresses: their packets are read along. */
  readsPackets = false;
  /** Called when nobody follows any more. */
  onEnd: () => void = () => {};
  readonly #clock: Pick<Clock, "wall">;
  readonly #followed = new Set<Followed>();

  constructor(clock: Pick<Clock, "wall">) {
    this.#clock = clock;
  }

  /** True if no further trace is taken. */
  get isFull(): boolean {
    return this.#followed.size >= tracesMax;
  }

  /** Has what is selected told from now on; returns what ends that, and tells what was left out. */
  follow(selection: TraceSelection, tell: (event: TraceEvent) => void): () => void {
    const one: Followed = { selection, tell, second: 0, inSecond: 0, skipped: 0, told: 0 };
    this.#followed.add(one);
    this.#look();
    return () => {
      if (!this.#followed.delete(one)) return;
      this.#tellSkipped(one);
      this.#look();
    };
  }

  /** True if somebody may be told of what this client does. */
  follows(subject: TraceSubject): boolean {
    for (const { selection } of this.#followed) if (namesClients(selection) && isWhose(selection, subject)) return true;
    return false;
  }

  /** Tells an event to those who follow it. */
  tell(traced: Traced): void {
    for (const one of this.#followed) if (concerns(one.selection, traced)) this.#tellTo(one, traced);
  }

  /** Tells of a message. */
  message(kind: TraceKind, publish: Publish, subject: TraceSubject, text: () => string): void {
    const { payloadBytes, payloadStart, payloadEnd } = publish;
    const payload = payloadBytes.subarray(payloadStart, payloadEnd);
    this.tell({ kind, subject, topic: topicOf(publish), text, payload });
  }

  #look(): void {
    this.isOn = this.#followed.size > 0;
    this.readsPackets = [...this.#followed].some(({ selection }) => namesClients(selection));
    if (!this.readsPackets) this.onEnd();
  }

  #tellTo(one: Followed, { kind, subject, topic, text, reason, payload }: Traced): void {
    const at = this.#clock.wall();
    const second = Math.floor(at / 1000);
    if (second !== one.second) {
      this.#tellSkipped(one);
      one.second = second;
      one.inSecond = 0;
    }
    if (++one.inSecond > traceRateMax || one.told >= traceEventsMax) {
      one.skipped++;
      return;
    }
    one.told++;
    const shown = Math.min(one.selection.payloadBytes, tracePayloadBytesMax);
    const { clientId, user, address } = subject;
    const bytes = shown === 0 || payload === undefined ? undefined : payload.slice(0, shown);
    one.tell({ at, kind, clientId, user, address, topic, reason, text: text().slice(0, traceTextMax), payload: bytes });
  }

  #tellSkipped(one: Followed): void {
    if (one.skipped === 0) return;
    const why =
      one.told >= traceEventsMax ? `a trace tells ${traceEventsMax} in all` : `a trace tells ${traceRateMax} a second`;
    const text = `${one.skipped} events are left out: ${why}`;
    one.skipped = 0;
    const nobody = { clientId: undefined, user: "", address: "", topic: undefined, reason: undefined };
    one.tell({ at: this.#clock.wall(), kind: "skipped", ...nobody, text, payload: undefined });
  }
}

function namesClients({ clientId, user, network }: TraceSelection): boolean {
  return clientId !== undefined || user !== undefined || network !== undefined;
}

function concerns(selection: TraceSelection, { subject, topic }: Traced): boolean {
  const { levels } = selection;
  if (levels !== undefined && (topic === undefined || !filterMatches(levels, topic.split("/")))) return false;
  return isWhose(selection, subject);
}

function isWhose({ clientId, user, network }: TraceSelection, subject: TraceSubject): boolean {
  if (clientId !== undefined && clientId !== subject.clientId) return false;
  if (user !== undefined && user !== subject.user) return false;
  return network === undefined || (subject.address !== "" && network.holds(subject.address));
}
