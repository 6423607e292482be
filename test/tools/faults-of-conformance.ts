/** Faults against statements of the standard: what is too large for a client, and reasons. */
import type { Fault } from "./faults.ts";

export const faults: readonly Fault[] = [
  {
    what: "an ack says more in words than its client takes",
    file: "src/session/channel.ts",
    find: "(this.wantsReasons && ackWithTextSize(text) <= this.packetBytesMax)",
    replace: "this.wantsReasons",
    tests: "test/broker/conformance-publish.test.ts",
  },
  {
    what: "DISCONNECT says more in words than its client takes",
    file: "src/mqtt/control.ts",
    find: "if (bytes.length <= bytesMax) return bytes;",
    replace: "if (bytesMax > 0) return bytes;",
    tests: "test/broker/conformance-end.test.ts",
  },
  {
    what: "filters are subscribed to whose SUBACK the client does not take",
    file: "src/broker/filter-request.ts",
    find: "if (1 + varintSize(body) + body > channel.packetBytesMax)",
    replace: "if (1 + varintSize(body) + body > Infinity)",
    tests: "test/broker/conformance-subscribe.test.ts",
  },
  {
    what: "CONNACK is larger than its client takes",
    file: "src/broker/connect/handle-connect.ts",
    find: ".length > channel.packetBytesMax)",
    replace: ".length > Infinity)",
    tests: "test/broker/conformance-subscribe.test.ts",
  },
  {
    what: "AUTH is larger than its client takes",
    file: "src/broker/connect/admission.ts",
    find: "if (bytes.length > connection.channel.packetBytesMax)",
    replace: "if (bytes.length === 0)",
    tests: "test/broker/conformance-end.test.ts",
  },
  {
    what: "a client may give any reason in DISCONNECT",
    file: "src/mqtt/validate.ts",
    find: "if (!reasons.has(bytes[start]!)) throw",
    replace: "if (reasons.size === 0) throw",
    tests: "test/broker/conformance-end.test.ts",
  },
  {
    what: "what does not speak MQTT is answered as if it did",
    file: "src/broker/connect/connect-request.ts",
    find: "equalRange(protocolName, 0, bytes, body, protocolName.length)",
    replace: "bytes[body + 2] === 0x4d",
    tests: "test/broker/conformance-connect.test.ts",
  },
  {
    what: "the client library gives a message the packet id of a question",
    file: "src/client/client-session.ts",
    find: " || this.asking.has(this.#lastId)",
    replace: "",
    tests: "test/sdk/conformance.test.ts",
  },
  {
    what: "the client library goes on with a session that was to begin anew",
    file: "src/client/connection.ts",
    find: "packet.sessionPresent && this.#options.clean !== false",
    replace: "packet.sessionPresent && this.version < 3",
    tests: "test/sdk/conformance.test.ts",
  },
  {
    what: "the client library publishes retained messages where none are retained",
    file: "src/client/outbox.ts",
    find: "publish.retain && !this.#retains",
    replace: "publish.retain && publish.qos > 2",
    tests: "test/sdk/conformance.test.ts",
  },
  {
    what: "before MQTT 5 a client has the Keep Alive that it likes",
    file: "src/broker/connect/connect-request.ts",
    find: "    keepAlive: capKeepAlive(packet.keepalive ?? 0, options.keepaliveMax),",
    replace: "    keepAlive: capKeepAlive(packet.keepalive ?? 0, version === 5 ? options.keepaliveMax : 65_535),",
    tests: "test/unit/rooms/connect.test.ts test/broker/limits.test.ts",
  },
];
