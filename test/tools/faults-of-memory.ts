/** Faults with which clients take memory that is not counted, or that nobody holds them to. */
import type { Fault } from "./faults.ts";

const unit = "test/unit/rooms/memory.test.ts";
const session = "test/unit/session.test.ts";
const broker = "test/broker/memory.test.ts";
const pressure = "src/broker/connect/memory-pressure.ts";
const watch = "src/broker/connect/memory-watch.ts";

export const faults: readonly Fault[] = [
  {
    what: "memory: a packet of which half has come is not counted",
    file: "src/mqtt/framer.ts",
    find: "this.#heldLength + apart;",
    replace: "apart;",
    tests: unit,
  },
  {
    what: "memory: a message that was lent to many counts for each",
    file: "src/net/writer.ts",
    find: "      if (segment.isLent) seen.add(segment.bytes);\n",
    replace: "",
    tests: unit,
  },
  {
    what: "memory: rules that a user's clients share count for each",
    file: "src/access/rule-list.ts",
    find: "    seen.add(this);\n",
    replace: "",
    tests: unit,
  },
  {
    what: "memory: packet ids of half-received messages are free",
    file: "src/session/session.ts",
    find: "(this.#incoming?.size ?? 0) * packetIdMemoryBytes",
    replace: "0",
    tests: session,
  },
  {
    what: "memory: what waits to be handled is not counted",
    file: "src/broker/delivery/client-memory.ts",
    find: "waitingBytes * decodedMemoryBytes +",
    replace: "0 * decodedMemoryBytes * waitingBytes +",
    tests: unit,
  },
  {
    what: "memory: sessions without their clients are nobody's",
    file: watch,
    find: 'if (client.user !== "") spenders.of("user", client.user).add(bytes);',
    replace: 'if (client.user === "") spenders.of("user", client.user).add(bytes);',
    tests: unit,
  },
  {
    what: "memory: each of a user's clients is counted for itself",
    file: "src/broker/connect/admission.ts",
    find: '      : spenders.of("user", user);',
    replace: '      : spenders.of("user", connection.transport.remote);',
    tests: broker,
    needsBuild: true,
  },
  {
    what: "memory: a user is not refused near his limit",
    file: watch,
    find: "if (bytes >= limit * userRefusePartMin) spender.ownRefusal = why;",
    replace: "if (bytes >= limit * Infinity) spender.ownRefusal = why;",
    tests: unit,
  },
  {
    what: "memory: a user stays refused when he has given it back",
    file: watch,
    find: "    if (bytes < limit * userServePartMax) spender.ownRefusal = undefined;\n",
    replace: "",
    tests: unit,
  },
  {
    what: "memory: nobody is disconnected beyond his user's limit",
    file: watch,
    find: "    yield* disconnectLargest(this.#context, this.#parts, { spender,",
    replace: "    if (bytes < 0) yield* disconnectLargest(this.#context, this.#parts, { spender,",
    tests: unit,
  },
  {
    what: "memory: the smallest clients are disconnected first",
    file: "src/broker/connect/largest-connections.ts",
    find: "for (let size = bySize.length - 1; size >= 0; size--) {",
    replace: "for (let size = 0; size < bySize.length; size++) {",
    tests: unit,
  },
  {
    what: "memory: garbage is taken for what clients have",
    file: pressure,
    find: "    this.#collect(isShort",
    replace: "    if (!isShort) this.#collect(isShort",
    tests: unit,
  },
  {
    what: "memory: garbage is collected again and again",
    file: pressure,
    find: "if (!hasGrown && now < this.#collectedAt + collectPauseMs) return bytes;",
    replace: "if (!hasGrown && now < this.#collectedAt) return bytes;",
    tests: unit,
  },
  {
    what: "memory: those who take little are judged with those who take much",
    file: pressure,
    find: "bytes >= this.#part(1) ? spenderBytesMin : Math.max(spenderBytesMin, this.#part(spenderPartMin));",
    replace: "bytes >= this.#part(spenderPartMin) ? 0 : spenderBytesMin;",
    tests: unit,
  },
  {
    what: "memory: who takes most is never disconnected",
    file: pressure,
    find: "    if (bytes >= this.#part(memoryEndPartMin)) return true;\n",
    replace: "    if (bytes >= Infinity) return true;\n",
    tests: unit,
  },
  {
    what: "memory: who is refused may keep what he has for ever",
    file: pressure,
    find: "return first !== undefined && this.#context.clock.now() >= first.since + memoryRefusedMs;",
    replace: "return first !== undefined && this.#context.clock.now() < first.since;",
    tests: unit,
  },
  {
    what: "memory: who was refused is never served again",
    file: pressure,
    find: "      spender.sharedRefusal = undefined;\n",
    replace: "",
    tests: unit,
  },
  {
    what: "memory: a flood is not noticed before the next look",
    file: pressure,
    find: "if (grown > this.#part(receivedPartMax)) this.#look(this.#context.clock.now());",
    replace: "if (grown < 0) this.#look(this.#context.clock.now());",
    tests: unit,
  },
  {
    what: "memory: all of a user's clients are disconnected",
    file: "src/broker/connect/largest-connections.ts",
    find: "      if (freed >= bytes) return freed;\n",
    replace: "",
    tests: unit,
  },
  {
    what: "memory: a user who is refused may publish",
    file: "src/broker/inbound.ts",
    find: "if (connection.spender?.refusal !== undefined) {",
    replace: "if (connection.spender?.refusal === null) {",
    tests: broker,
    needsBuild: true,
  },
  {
    what: "memory: a user who is refused may subscribe",
    file: "src/broker/handle-subscribe.ts",
    find: "    return connection.spender?.refusal;",
    replace: "    return connection.spender?.refusal && undefined;",
    tests: broker,
    needsBuild: true,
  },
  {
    what: "memory: only the limit of the process' own control group counts",
    file: "src/server/process-memory.ts",
    find: "const least = Math.min(...limits);",
    replace: "const least = limits.at(-1) ?? Infinity;",
    tests: unit,
  },
];
