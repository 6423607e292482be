/**
 * Questions of operators that another broker answers: what it is asked, and what it says, are texts that only the API
 * understands. Who does not answer in time, or cannot be asked, is left out by whoever has asked.
 */
import { peerAnswerBytesMax, peerAnswerMs, peerQuestionsMax } from "../../base/api-limits.ts";
import { Timer } from "../../base/timers.ts";
import type { ClusterContext } from "./cluster-context.ts";
import type { Links } from "./links.ts";
import type { Peer } from "./peer.ts";

/** Answers a question of another broker. */
export type AnswerQuestion = (question: string, done: (answer: string) => void) => void;

/** Another broker, as operators see it. */
export interface OtherBroker {
  readonly id: string;
  /** Says why it cannot be asked now; undefined: it can. */
  readonly whyNot: string | undefined;
}

interface Waiting {
  readonly peer: Peer;
  readonly timer: Timer;
  readonly done: (answer: string | undefined) => void;
}

/** Asks other brokers, and answers them. */
export class Questions {
  readonly #context: ClusterContext;
  readonly #links: Links;
  readonly #answer: AnswerQuestion | undefined;
  readonly #waiting = new Map<number, Waiting>();
  #lastNumber = 0;
  #answering = 0;

  /** `answer`: undefined if this broker answers no questions. */
  constructor(context: ClusterContext, parts: { links: Links; answer: AnswerQuestion | undefined }) {
    this.#context = context;
    this.#links = parts.links;
    this.#answer = parts.answer;
  }

  /** The other members of the cluster. */
  get others(): readonly OtherBroker[] {
    return [...this.#context.peers.values()]
      .filter(({ isMember }) => isMember)
      .map((peer) => ({ id: peer.id, whyNot: whyNotAsked(peer) }));
  }

  /** Asks another broker; `done` is called once, with undefined if it cannot be asked, or does not answer in time. */
  ask(id: string, question: string, done: (answer: string | undefined) => void): void {
    const { peers, timers, clock } = this.#context;
    const peer = peers.get(id);
    if (peer === undefined || whyNotAsked(peer) !== undefined) return done(undefined);
    const number = ++this.#lastNumber;
    const timer = new Timer(() => this.#settle(number, undefined));
    timers.set(timer, clock.now() + peerAnswerMs);
    this.#waiting.set(number, { peer, timer, done });
    this.#links.sendControl(peer, { say: "ask", number, question });
  }

  /** Answers another broker; one that asks too much at once hears nothing. */
  asked(peer: Peer, number: number, question: string): void {
    if (this.#answer === undefined || this.#answering >= peerQuestionsMax) return;
    this.#answering++;
    const { epoch } = peer;
    this.#answer(question, (answer) => {
      this.#answering--;
      if (peer.epoch !== epoch || answer.length > peerAnswerBytesMax) return;
      this.#links.sendControl(peer, { say: "answered", number, answer });
    });
  }

  /** Takes the answer of another broker; one that comes too late is nobody's. */
  answered(peer: Peer, number: number, answer: string): void {
    if (this.#waiting.get(number)?.peer === peer) this.#settle(number, answer);
  }

  /** Waits no longer for a broker that has left. */
  left(peer: Peer): void {
    for (const [number, waiting] of [...this.#waiting]) if (waiting.peer === peer) this.#settle(number, undefined);
  }

  #settle(number: number, answer: string | undefined): void {
    const waiting = this.#waiting.get(number)!;
    this.#waiting.delete(number);
    this.#context.timers.cancel(waiting.timer);
    waiting.done(answer);
  }
}

function whyNotAsked({ facts, isLinked }: Peer): string | undefined {
  if (facts?.answersQuestions !== true) return "its version cannot be asked over the link";
  return isLinked ? undefined : "the link to it is down";
}
