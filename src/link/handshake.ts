/**
 * The handshake of a link: both brokers name themselves, and prove that they know the cluster's secret. The one that
 * dials proves it first, so a stranger who dials is told nothing that he could try secrets on. Its order is hello,
 * challenge, confirm, welcome; brokers before that, which say so in the tree, are spoken to in theirs: hello, welcome,
 * confirm.
 */
import { ProtocolError } from "../base/errors.ts";
import { Reason } from "../mqtt/reason.ts";
import { type Challenge, type Confirm, FrameType, type Hello, jsonFrame, type Welcome } from "./frames.ts";
import { decodeChallenge, decodeConfirm, decodeHello, decodeWelcome } from "./json-frames.ts";
import { isSameProof, proofOf } from "./proof.ts";

/** How brokers shake hands, by number, and what the first frame calls it. */
export const newestHandshake = 2;
const protocols = ["mqttzoo-link-1", "mqttzoo-link-2"] as const;

/** The other broker, as it stands in the tree. */
export interface Member {
  readonly id: string;
  readonly epoch: number;
  /** The newest handshake that it knows. */
  readonly handshake: number;
  /** Numbered frames received from this incarnation of it. */
  readonly received: number;
}

export interface HandshakeParts {
  /** This broker. */
  readonly self: { readonly id: string; readonly epoch: number };
  /** The secret that all brokers of the cluster share; undefined: nothing is proved. */
  readonly secret: string | undefined;
  /** Random text that the other side must use in its proof. */
  readonly nonce: string;
  /** The broker that is dialled; undefined: this one was. */
  readonly dialled: string | undefined;
  /** Returns the member with an id, as it is known now; undefined: there is none, or no link to it. */
  readonly member: (id: string) => Member | undefined;
  readonly send: (frame: Uint8Array) => void;
  /** Called once, at the end: with the other broker's id, and how many numbered frames it has received. */
  readonly up: (id: string, received: number) => void;
}

/** One handshake, on one connection. */
export class Handshake {
  readonly #parts: HandshakeParts;
  /** The other broker; undefined: it has not said who it is. */
  #other: Member | undefined;
  #theirNonce: string | undefined;
  /** The frame that must come now; undefined: none any more. */
  #next: "hello" | "challenge" | "welcome" | "confirm" | undefined = "hello";
  #number = 1;

  constructor(parts: HandshakeParts) {
    this.#parts = parts;
  }

  /** True if the other side has named itself as a member does. */
  get isNamed(): boolean {
    return this.#other !== undefined;
  }

  /** Says hello, if this broker has dialled. Throws `ProtocolError` if the other one is no member any more. */
  begin(): void {
    const { dialled } = this.#parts;
    if (dialled === undefined) return;
    this.#other = this.#memberNow(dialled);
    this.#number = Math.min(newestHandshake, this.#other.handshake);
    this.#next = this.#number === 1 ? "welcome" : "challenge";
    this.#parts.send(jsonFrame(FrameType.hello, this.#hello()));
  }

  /** Reads a frame whose body lies between `start` and `end`. Throws `ProtocolError`: the other side is refused. */
  frame(type: number, bytes: Uint8Array, start: number, end: number): void {
    if (this.#next === undefined || type !== FrameType[this.#next]) throw refused("no handshake");
    switch (type) {
      case FrameType.hello:
        return this.#helloed(decodeHello(bytes, start, end));
      case FrameType.challenge:
        return this.#challenged(decodeChallenge(bytes, start, end));
      case FrameType.welcome:
        return this.#welcomed(decodeWelcome(bytes, start, end));
      default:
        return this.#confirmed(decodeConfirm(bytes, start, end));
    }
  }

  #hello(): Hello {
    const { self, nonce } = this.#parts;
    return { protocol: protocols[this.#number - 1]!, id: self.id, epoch: self.epoch, nonce };
  }

  /**
   * The dialling broker must be a known member, in the known incarnation; otherwise it is refused, and dials again
   * later, when this broker may have seen it.
   */
  #helloed(hello: Hello): void {
    const other = this.#parts.member(hello.id);
    const number = 1 + (protocols as readonly string[]).indexOf(hello.protocol);
    if (other === undefined || other.epoch !== hello.epoch || number === 0)
      throw refused(`${hello.id} is not known in this incarnation`);
    // Whoever bears its name and lets this broker prove itself first is another one.
    if (number < Math.min(newestHandshake, other.handshake)) throw refused(`${hello.id} knows a newer handshake`);
    this.#number = number;
    this.#other = other;
    this.#theirNonce = hello.nonce;
    this.#next = "confirm";
    if (number === 1) this.#welcome(other);
    else this.#parts.send(jsonFrame(FrameType.challenge, { nonce: this.#parts.nonce } satisfies Challenge));
  }

  #challenged({ nonce }: Challenge): void {
    this.#theirNonce = nonce;
    this.#next = "welcome";
    this.#confirm(this.#memberNow(this.#other!.id));
  }

  #welcomed(welcome: Welcome): void {
    const { id } = this.#other!;
    if (this.#number === 1) this.#theirNonce = welcome.nonce;
    if (welcome.nonce !== this.#theirNonce || !this.#proves(welcome.proof, "acceptor"))
      throw refused(`${id} does not prove the secret`);
    const other = this.#memberNow(id);
    if (welcome.id !== id || welcome.epoch !== other.epoch)
      throw refused(`${welcome.id} answers where ${id} was dialled`);
    if (this.#number === 1) this.#confirm(other);
    this.#end(welcome.received);
  }

  #confirmed(confirm: Confirm): void {
    const { id, epoch, received } = this.#other!;
    if (!this.#proves(confirm.proof, "dialler")) throw refused(`${id} does not prove the secret`);
    const other = this.#memberNow(id);
    if (other.epoch !== epoch) throw refused("it has left");
    // The earlier connection may still have brought some, which would be sent again, and counted twice.
    if (this.#number === 1 && other.received !== received) throw refused("more has come since it was welcomed");
    if (this.#number > 1) this.#welcome(other);
    this.#end(confirm.received);
  }

  #welcome({ received }: Member): void {
    const welcome: Welcome = { ...this.#hello(), received, proof: this.#proof("acceptor") };
    this.#parts.send(jsonFrame(FrameType.welcome, welcome));
  }

  #confirm({ received }: Member): void {
    const confirm: Confirm = { received, proof: this.#proof("dialler") };
    this.#parts.send(jsonFrame(FrameType.confirm, confirm));
  }

  #end(received: number): void {
    this.#next = undefined;
    this.#parts.up(this.#other!.id, received);
  }

  #memberNow(id: string): Member {
    const member = this.#parts.member(id);
    if (member === undefined) throw refused("it has left");
    return member;
  }

  #proves(proof: string, speaker: "dialler" | "acceptor"): boolean {
    return isSameProof(proof, this.#proof(speaker));
  }

  #proof(speaker: "dialler" | "acceptor"): string {
    const { dialled, nonce, secret } = this.#parts;
    const theirs = this.#theirNonce!;
    return proofOf(secret, speaker, dialled === undefined ? [theirs, nonce] : [nonce, theirs]);
  }
}

function refused(why: string): ProtocolError {
  return new ProtocolError(Reason.notAuthorized, why);
}
