/**
 * The publishes of QoS 1 and 2 on their way over one connection: those that an earlier one has not seen acknowledged,
 * in their order, and new ones behind them.
 */
import { systemClock } from "../base/clock.ts";
import { Ring } from "../base/ring.ts";
import { Envelope, type Publish, publishSize } from "../mqtt/publish.ts";
import { Reason } from "../mqtt/reason.ts";
import type { ClientSession, Unacknowledged } from "./client-session.ts";

export interface FlightContext {
  readonly session: ClientSession;
  /** True before MQTT 5. */
  readonly isMute: boolean;
  /** The largest packet that the broker takes, in bytes. */
  readonly packetBytesMax: () => number;
  /** Writes a publish, or PUBREL where that is what is to be sent again. */
  readonly write: (packetId: number, unacknowledged: Unacknowledged) => void;
  /** Ends a publish that the broker will not have: the reason code, and why, for people. */
  readonly refuse: (packetId: number, reason: number, why: string) => void;
}

export class Flight {
  readonly #context: FlightContext;
  /** Packet ids that are not sent in this connection yet. */
  readonly #unsent = new Ring<number>();
  #underWay = 0;
  #acks = 0;
  #isOpen = false;
  /** The publish that was sent last, and before MQTT 5 when, in ms of the monotonic clock. */
  #last: Unacknowledged | undefined;
  #lastAt = 0;

  constructor(context: FlightContext) {
    this.#context = context;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The broker has let us in: what an earlier connection has left is sent again. */
  open(): void {
    this.#isOpen = true;
    this.#unsent.clear();
    for (const packetId of this.#context.session.outgoing.keys()) this.#unsent.push(packetId);
    this.#pump();
  }

  /** Sends a new publish when its turn has come. */
  add(unacknowledged: Unacknowledged): void {
    this.push(this.#context.session.add(unacknowledged), unacknowledged);
  }

  /** Sends a publish that has its packet id when its turn has come. */
  push(packetId: number, unacknowledged: Unacknowledged): void {
    const { session } = this.#context;
    // Nearly always there is nothing that it has to wait for.
    if (this.#unsent.length === 0 && session.suspicion?.isCareful !== true) return this.#send(packetId, unacknowledged);
    this.#unsent.push(packetId);
    this.#pump();
  }

  /** PUBREC has come: the broker takes a publish over. */
  taken(): void {
    this.#acks++;
  }

  /** An ack has come for a publish of this connection. */
  acknowledged(): void {
    this.#acks++;
    this.#underWay--;
    this.#context.session.suspicion?.settled();
    if (this.#unsent.length > 0) this.#pump();
  }

  /** The broker has closed the connection; its reason, if it has said one. */
  lost(reason: number | undefined): void {
    const { session, isMute, refuse } = this.#context;
    const { suspicion, outgoing } = session;
    const isAlone = this.#underWay === 1 && this.#last?.released === false;
    const refused = suspicion?.lost({
      alone: isAlone ? this.#last : undefined,
      sinceMs: systemClock.now() - this.#lastAt,
      acks: this.#acks,
      outgoing: outgoing.size,
      reason,
      isMute,
    });
    if (refused === undefined) return;
    suspicion?.settled();
    const packetId = outgoing.entries().find(([, unacknowledged]) => unacknowledged === refused)?.[0];
    const [code, why] =
      reason === undefined
        ? [Reason.unspecifiedError, "the broker closes the connection whenever it comes"]
        : [reason, "the broker has closed the connection"];
    if (packetId !== undefined) refuse(packetId, code, why);
  }

  #pump(): void {
    const { session } = this.#context;
    for (let packetId = this.#unsent.peek(); packetId !== undefined; packetId = this.#unsent.peek()) {
      const unacknowledged = session.outgoing.get(packetId);
      const isReleased = unacknowledged?.released === true;
      // No broker closes on a PUBREL.
      if (session.suspicion?.isCareful && this.#underWay > 0 && !isReleased) return;
      this.#unsent.shift();
      if (unacknowledged === undefined) continue;
      this.#send(packetId, unacknowledged);
    }
  }

  #send(packetId: number, unacknowledged: Unacknowledged): void {
    const { session, isMute, packetBytesMax, refuse, write } = this.#context;
    const bytesMax = packetBytesMax();
    const bytes = packetBytesOf(unacknowledged.publish, bytesMax);
    if (bytes > bytesMax) {
      session.suspicion?.settled();
      return refuse(packetId, Reason.packetTooLarge, `it has ${bytes} bytes; the broker takes ${bytesMax}`);
    }
    this.#underWay++;
    this.#last = unacknowledged;
    if (isMute) this.#lastAt = systemClock.now();
    write(packetId, unacknowledged);
  }
}

/** Returns the bytes of a PUBLISH of MQTT 5; 0, if it is clear that it has not as many as `max`. */
export function packetBytesOf(publish: Publish, max: number): number {
  // Its head: 5 bytes at most, the lengths of topic and properties, the packet id, the expiry.
  if (publish.size + 20 < max) return 0;
  const envelope = new Envelope();
  envelope.qos = publish.qos;
  envelope.version5 = true;
  return publishSize(publish, envelope);
}
