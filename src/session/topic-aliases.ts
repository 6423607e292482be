/** Topic aliases of one connection (3.3.2.3.4): those that the client has set, and those set for it. */
import { decodeUtf8, ownBytes } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";
import { topicMemoryBytes } from "../base/memory-limits.ts";
import type { Publish } from "../mqtt/publish.ts";
import { Reason } from "../mqtt/reason.ts";

export class IncomingAliases {
  readonly #topics: (Uint8Array | undefined)[] = [];
  readonly #max: number;
  /** The memory of the topics that aliases stand for, in bytes, about. */
  memoryBytes = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Puts the topic in where the alias stands for it, remembers it where both are given. Throws `ProtocolError`. */
  resolve(publish: Publish): void {
    const { alias } = publish;
    // [MQTT-3.3.2-7]
    if (alias > this.#max)
      throw new ProtocolError(Reason.topicAliasInvalid, `topic alias ${alias}; the maximum is ${this.#max}`);
    if (publish.topicStart < publish.topicEnd) {
      const before = this.#topics[alias];
      this.memoryBytes += publish.topicEnd - publish.topicStart;
      this.memoryBytes += before === undefined ? topicMemoryBytes : -before.length;
      this.#topics[alias] = ownBytes(publish.topicBytes, publish.topicStart, publish.topicEnd);
      return;
    }
    const topic = this.#topics[alias];
    if (topic === undefined) throw new ProtocolError(Reason.protocolError, `topic alias ${alias} has not been set`);
    publish.topicBytes = topic;
    publish.topicStart = 0;
    publish.topicEnd = topic.length;
  }
}

export class OutgoingAliases {
  readonly #aliases = new Map<string, number>();
  readonly #max: number;
  /** The memory of the topics that aliases stand for, in bytes, about. */
  memoryBytes = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** The alias of a message's topic, 0 if all are taken by other topics; `known` if the client has it already. */
  assign(publish: Publish): { alias: number; known: boolean } {
    const topic = decodeUtf8(publish.topicBytes, publish.topicStart, publish.topicEnd);
    const existing = this.#aliases.get(topic);
    if (existing !== undefined) return { alias: existing, known: true };
    if (this.#aliases.size >= this.#max) return { alias: 0, known: false };
    this.#aliases.set(topic, this.#aliases.size + 1);
    this.memoryBytes += publish.topicEnd - publish.topicStart + topicMemoryBytes;
    return { alias: this.#aliases.size, known: false };
  }
}
