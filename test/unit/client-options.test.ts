/** The options of a client: what no packet can carry is refused with a `TypeError` before anything is dialled. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { connectOn } from "../../src/client/client.ts";
import type { ClientOptions, PublishOptions } from "../../src/client/client-options.ts";
import { connectBytesOf } from "../../src/client/connect-packet.ts";
import type { ConnectionOptions } from "../../src/client/connection-options.ts";
import { ConnectFailed } from "../../src/client/errors.ts";
import { toPublish } from "../../src/client/outgoing-publish.ts";
import type { Runtime } from "../../src/client/runtime.ts";
import { parsePattern } from "../../src/client/topic-pattern.ts";
import { decodeConnect } from "../../src/mqtt/control.ts";
import { Framer } from "../../src/mqtt/framer.ts";

const long = "x".repeat(65_536);
const optionNames = [
  "clientId",
  "sessionExpiry",
  "sessionExpiryMs",
  "clean",
  "keepAlive",
  "keepAliveMs",
  "username",
  "password",
  "version",
  "tls",
  "webSocket",
  "auth",
  "userProperties",
  "will",
  "receiveMaximum",
  "packetBytesMax",
  "connectTimeout",
  "connectTimeoutMs",
  "reconnect",
  "offline",
  "store",
  "onStatus",
  "onLog",
  "retry",
  "signal",
] as const satisfies readonly (keyof ClientOptions)[];
const anything = fc.oneof(
  fc.anything(),
  fc.constantFrom<unknown>(
    null,
    Number.NaN,
    -1,
    1.5,
    70_000,
    1e12,
    "30",
    "\0",
    "\ud83d",
    long,
    [],
    () => 5,
    5n,
    Symbol("x"),
  ),
  fc.record({ topic: fc.anything(), payload: fc.anything(), qos: fc.anything(), delay: fc.anything() }),
  fc.record({ minMs: fc.anything(), messagesMax: fc.anything(), whenFull: fc.anything() }),
);

/** Connects where nobody is; returns what `connect` has thrown, and whether it has dialled. */
async function attempt(
  options: unknown,
  url: unknown = "mqtt://nobody",
): Promise<{ error: unknown; dialled: boolean }> {
  let dialled = false;
  const runtime: Runtime = {
    async dialSocket() {
      dialled = true;
      throw new Error("nobody is there");
    },
    dialWebSocket: () => Promise.reject(new Error("nobody is there")),
    nextTurn: (run) => void setImmediate(run),
  };
  const error = await connectOn(runtime, url as string, options as ClientOptions).catch((thrown) => thrown);
  return { error, dialled };
}

function decoded(options: ConnectionOptions, version: 4 | 5) {
  const framer = new Framer(1_000_000);
  framer.feed(connectBytesOf(options, version));
  expect(framer.next()).toBe(true);
  return decodeConnect(framer).packet;
}

describe("options of any type", () => {
  test("one at a time: a TypeError and nothing dialled, or they can be meant", async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...optionNames), anything, async (name, value) => {
        const { error, dialled } = await attempt({ clientId: "c", [name]: value });
        if (error instanceof ConnectFailed) expect(dialled).toBe(true);
        else if (!(name === "signal" && (value as AbortSignal)?.aborted)) {
          expect(error).toBeInstanceOf(TypeError);
          expect(dialled).toBe(false);
        }
      }),
      { numRuns: 1000 },
    );
  });

  test.each([
    [{ keepAliveMs: "30" }, /^keepAliveMs must be a number from 0 to 65535000, not the string "30"$/],
    [{ keepAliveMs: 70_000_000 }, /^keepAliveMs must be a number/],
    [{ keepAlive: "30" }, /^keepAliveMs must be a number from 0 to 65535000, not the string "30"$/],
    [{ keepAlive: 70_000 }, /^keepAliveMs must be a number/],
    [{ keepAlive: 30, keepAliveMs: 30_000 }, /^keepAlive is the old name of keepAliveMs: give one of them$/],
    [{ will: { topic: "a", payload: "", delay: 1, delayMs: 5 } }, /^delay is the old name of delayMs/],
    [{ receiveMaximum: 70_000 }, /^receiveMaximum must be a whole number from 1 to 65535/],
    [{ username: 5 }, /^username must be a string, not 5$/],
    [{ password: 5 }, /^password must be a string or a Uint8Array, not 5$/],
    [{ will: { topic: "a" } }, /^will needs a payload$/],
    [{ will: { topic: "a/#", payload: "" } }, /^will.topic must be a topic/],
    [{ will: { topic: "a", payload: "", qos: 3 } }, /^will.qos must be 0 or 1 or 2, not 3$/],
    [{ clientId: long }, /^clientId has 65536 bytes; 65,535 is the most$/],
    [{ username: "ä".repeat(32_768) }, /^username has 65536 bytes/],
    [{ clientId: "a\0" }, /^clientId must not hold U\+0000$/],
    [{ clientId: "\ud83d" }, /^clientId must not hold half of a surrogate pair$/],
    [{ version: 4, password: "alone" }, /^a password needs a user name before MQTT 5$/],
    [{ onStatus: "told" }, /^onStatus must be a function/],
    [{ sessionExpiryMs: 5 }, /needs a clientId$/],
    [{ sessionExpiry: 5 }, /needs a clientId$/],
    [{ keepalive: 30 }, /^there is no option keepalive: here it is called keepAliveMs$/],
    [{ reconnectPeriod: 1000 }, /here it is called reconnect/],
    [{ rejectUnauthorized: false }, /here it is called tls.isInsecure/],
    [{ will: { topic: "a", payload: "", correlationData: "text" } }, /^will.correlationData must be a Uint8Array/],
    [{ userProperties: { a: 5 } }, /^a user property must be a string, not 5$/],
    [null, /^the options must be an object, not null$/],
  ])("what cannot be meant: %#", async (options, words) => {
    const { error, dialled } = await attempt(options);
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toMatch(words);
    expect(dialled).toBe(false);
  });

  test.each([[5], [null], [[]], [[5]], [{}], ["http://x"]])("a URL that is %j", async (url) => {
    const { error, dialled } = await attempt({}, url);
    expect(error).toBeInstanceOf(TypeError);
    expect(dialled).toBe(false);
  });

  test("of a publish, of a topic, of a pattern", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(
          ...["qos", "retain", "expiry", "expiryMs", "contentType"],
          ...["responseTopic", "correlationData", "userProperties"],
        ),
        anything,
        (name, value) => {
          try {
            toPublish("t", "x", { [name]: value } as PublishOptions);
          } catch (error) {
            expect(error).toBeInstanceOf(TypeError);
          }
        },
      ),
      { numRuns: 1000 },
    );
    for (const topic of [long, "a\0", "\ud83d", 5, undefined, ""])
      expect(() => toPublish(topic as string, "x", {})).toThrow(TypeError);
    for (const payload of [5, null, undefined, {}])
      expect(() => toPublish("t", payload as string, {})).toThrow(TypeError);
    for (const pattern of [long, "a\0", 5]) expect(() => parsePattern(pattern as string)).toThrow(TypeError);
  });
});

describe("CONNECT", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 300 }).filter((value) => !value.includes("\0"));

  test("says what the options say, with a user name, a password, both or none", () => {
    fc.assert(
      fc.property(
        fc.record({ clientId: text, username: text, password: text, keepAlive: fc.nat(65_535) }, { requiredKeys: [] }),
        fc.constantFrom<4 | 5>(4, 5),
        (options, version) => {
          const { clientId = "", username, password, keepAlive = 60 } = options;
          const isAlone = password !== undefined && username === undefined;
          if (isAlone && version === 4) return expect(() => connectBytesOf(options, 4)).toThrow(/needs a user name/);
          const packet = decoded(options, version);
          expect([packet.clientId, packet.keepalive]).toEqual([clientId, keepAlive]);
          expect(packet.username).toBe(username as string);
          expect(packet.password?.toString()).toBe(password as string);
        },
      ),
    );
  });

  test.each([
    [{ clientId: long }, /^the client id has 65536 bytes/],
    [{ username: long }, /^the user name has 65536 bytes/],
    [{ username: "u", password: long }, /^the password has 65536 bytes/],
    [{ will: { topic: long, payload: "", qos: 0, retain: false } }, /^the will's topic has 65536 bytes/],
    [{ will: { topic: "w", payload: long, qos: 0, retain: false } }, /^the will's payload has 65536 bytes/],
    [{ properties: { userProperties: { name: long } } }, /^a user property has 65536 bytes/],
    [{ properties: { authenticationMethod: long } }, /^authenticationMethod has 65536 bytes/],
    [{ properties: { receiveMaximum: 0 } }, /^these options make no CONNECT/],
    [{ properties: { receiveMaximum: "x" } }, /^these options make no CONNECT/],
  ] as unknown as [ConnectionOptions, RegExp][])("is not made of what it cannot carry: %#", (options, words) => {
    expect(() => connectBytesOf(options, 5)).toThrow(TypeError);
    expect(() => connectBytesOf(options, 5)).toThrow(words);
  });
});
