/**
 * Faults in the client library, in what measures a load, and in the doctor: each would lose something, or not see what
 * is lost.
 */
import type { Fault } from "./faults.ts";

const reconnect = "test/sdk/reconnect.test.ts";
const runtimes = "test/sdk/runtimes.test.ts";
const load = "test/unit/load.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "client: filters are not asked for again when the session is gone",
    file: "src/client/inbox.ts",
    find: "if (connection.sessionPresent && interest.isGranted) continue;",
    replace: "if (interest.isGranted) continue;",
    tests: reconnect,
  },
  {
    what: "client: more is sent than the broker takes unacknowledged",
    file: "src/client/outbox.ts",
    find: "this.#window = receiveMaximum ?? windowDefault;",
    replace: "void receiveMaximum;",
    tests: reconnect,
  },
  {
    what: "client: what the broker forgot is not sent again",
    file: "src/client/outbox.ts",
    find: "else if (!pending.isAborted) again.push(pending);",
    replace: "",
    tests: reconnect,
  },
  {
    what: "client: a message of QoS 2 comes again after a lost connection",
    file: "src/client/inbox.ts",
    find: "if (isRepeat) return this.#receiveAgain(publish);",
    replace: "void isRepeat;",
    tests: reconnect,
  },
  {
    what: "client: what will come again is handed out too",
    file: "src/client/subscription.ts",
    find: "if (message.qos !== 1) this.#ring.push(message);",
    replace: "this.#ring.push(message);",
    tests: reconnect,
  },
  {
    what: "client: what nobody has asked for yet is acknowledged",
    file: "src/client/inbox.ts",
    find: "if (!this.#connection!.sessionPresent) return receipt.settle();",
    replace: "return receipt.settle();",
    tests: runtimes,
  },
  {
    what: "client: a message is acknowledged before it is taken",
    file: "src/client/subscription.ts",
    find: "    this.#ring.push(message);\n  }\n\n  #take",
    replace: "    this.#ring.push(message);\n    message.ack();\n  }\n\n  #take",
    tests: runtimes,
  },
  {
    what: "client: waits are not drawn",
    file: "src/client/backoff.ts",
    find: "this.#random.next() * this.#boundMs",
    replace: "this.#boundMs",
    tests: reconnect,
  },
  {
    what: "client: it fights for a session that another one has taken over",
    file: "src/client/reconnector.ts",
    find: "  Reason.sessionTakenOver,\n",
    replace: "",
    tests: runtimes,
  },
  {
    what: "client: where a broker sends it is not where it goes",
    file: "src/client/reconnector.ts",
    find: "this.#references = parseReference(",
    replace: "void parseReference(",
    tests: reconnect,
  },
  {
    what: "client: the oldest message goes, and nobody is told",
    file: "src/client/outbox.ts",
    find: 'oldest.reject(new QueueFull("newer messages have taken its place"));',
    replace: "",
    tests: reconnect,
  },
  {
    what: "client: Message Expiry Interval is lost",
    file: "src/client/outgoing-publish.ts",
    find: "if (expiry !== undefined) publish.expiresAt",
    replace: "if (expiry === -1) publish.expiresAt",
    tests: runtimes,
  },
  {
    what: "load: what comes late is taken for what comes twice",
    file: "src/load/streams.ts",
    find: "} else if (this.#isShared || stream.gaps.delete(sequence)) {",
    replace: "} else if (this.#isShared) {",
    tests: load,
  },
  {
    what: "load: a group is expected to get everything several times",
    file: "src/load/plan.ts",
    find: "count += other.isGroup ? 1 : other.count;",
    replace: "count += other.count;",
    tests: load,
  },
  {
    what: "load: percentiles are of the bucket below",
    file: "src/load/latencies.ts",
    find: "(1 + ((bucket % parts) + 1) / parts)",
    replace: "(1 + (bucket % parts) / parts)",
    tests: load,
  },
  {
    what: "load: what is lost is not counted",
    file: "cli/bench/report.ts",
    find: "Math.max(0, (expected ?? 0) - counts.received)",
    replace: "Math.max(0, Math.min(0, (expected ?? 0) - counts.received))",
    tests: "test/cli/bench.test.ts",
    needsBuild: true,
  },
  {
    what: "doctor: a message that comes twice is not seen",
    file: "cli/doctor/checks.ts",
    find: "if (qos === 2 && (await to.nextIfAny(topic, silenceMs)) !== undefined)",
    replace: "if (qos === 2 && to === undefined)",
    tests: "test/cli/doctor.test.ts",
    needsBuild: true,
  },
  {
    what: "client: a text that is too long for its length is cut, and its rest sent as something else",
    file: "src/client/checks.ts",
    find: "if (bytes > fieldBytesMax) throw",
    replace: "if (bytes > 1e9) throw",
    tests: "test/unit/client-options.test.ts",
  },
  {
    what: "client: an empty user name stands before a password that has none",
    file: "src/mqtt/control.ts",
    find: "const bytes = isAlone ? withoutUsername(whole, 2 + password.length) : whole;",
    replace: "const bytes = whole;",
    tests: "test/unit/client-options.test.ts",
  },
  {
    what: "client: a publish that nobody awaits ends the process",
    file: "src/client/outbox.ts",
    find: "  publishing.catch(() => {});\n",
    replace: "",
    tests: "test/sdk/unawaited.test.ts",
  },
  {
    what: "client: a message on which the broker closes is sent again for ever",
    file: "src/client/suspicion.ts",
    find: "return isClear ? alone : undefined;",
    replace: "return isClear && reason !== undefined ? alone : undefined;",
    tests: "test/unit/suspicion.test.ts",
  },
  {
    what: "client: of several messages under way the last is blamed for a closed connection",
    file: "src/client/flight.ts",
    find: "const isAlone = this.#underWay === 1 && this.#last?.released === false;",
    replace: "const isAlone = this.#last?.released === false;",
    tests: "test/unit/suspicion.test.ts",
  },
  {
    what: "pub: a broker that is restarted ends it",
    file: "cli/pub.ts",
    find: "flags.stdinLine === true ? Infinity : retryForDefault",
    replace: "flags.stdinLine === true ? 0 : retryForDefault",
    tests: "test/cli/retry.test.ts",
    needsBuild: true,
  },
  {
    what: "pub, sub: a password is sent in plain text to the port of TLS",
    file: "cli/flags/client-flags.ts",
    find: "const isItsPort = port === tlsPort ||",
    replace: "const isItsPort = port === undefined &&",
    tests: "test/unit/client-flags.test.ts",
  },
];
