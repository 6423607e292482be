/** The flags by which tools connect: where TLS is spoken, and who is told of a password in plain text. */
import { afterEach, beforeEach, expect, spyOn, test } from "bun:test";
import { readBrokerUrl } from "../../cli/flags/broker-url.ts";
import { type ConnectionFlags, readConnection } from "../../cli/flags/client-flags.ts";
import { whereOf } from "../../cli/flags/place-flags.ts";
import * as print from "../../cli/output/print.ts";

const flags: ConnectionFlags = { qos: 0, willQos: 0, keepalive: 60 };
let complained: ReturnType<typeof spyOn<typeof print, "complain">>;
beforeEach(() => {
  complained = spyOn(print, "complain").mockImplementation(() => {});
});
afterEach(() => {
  complained.mockRestore();
});

test("port 8883 means TLS, wherever it is named", async () => {
  for (const given of [{ port: 8883 }, { host: "a:8883" }, { host: "a:8883,b:8883" }, { url: "mqtt://a:8883/t" }]) {
    const { options, places } = readConnection({ ...flags, ...given });
    expect(options.tls).toEqual({});
    for (const place of await places()) expect(place.port).toBe(8883);
  }
  for (const given of [
    {},
    { port: 1883 },
    { host: "a:8883,b:1883" },
    { url: "mqtt://a/t" },
    { port: 8883, tls: false },
  ])
    expect(readConnection({ ...flags, ...given }).options.tls).toBeUndefined();
  expect((await readConnection({ ...flags, url: "mqtts://a/t" }).places())[0]).toMatchObject({ port: 8883 });
});

test("--no-tls, and what asks for TLS all the same, do not go together", () => {
  expect(() => whereOf({ tls: false, insecure: true })).toThrow(/--no-tls does not go with/);
  expect(() => readConnection({ ...flags, tls: false, url: "mqtts://a/t" })).toThrow(
    /--no-tls does not go with .*mqtts/,
  );
});

test.each([
  [{ pw: "secret", username: "u", host: "far.example.org" }, true],
  [{ pw: "secret", username: "u", host: "127.0.0.1,10.0.0.1" }, true],
  [{ url: "mqtt://u:secret@far.example.org/t" }, true],
  [{ pw: "secret", username: "u", host: "far.example.org", port: 8883 }, false],
  [{ pw: "secret", username: "u", host: "far.example.org", quiet: true }, false],
  [{ pw: "secret", username: "u" }, false],
  [{ pw: "secret", username: "u", host: "127.0.0.1" }, false],
  [{ pw: "secret", username: "u", unix: "/run/broker" }, false],
  [{ username: "u", host: "far.example.org" }, false],
])("a password in plain text is warned of where it leaves this machine: %j", (given, isWarned) => {
  readConnection({ ...flags, ...given });
  expect(complained.mock.calls.flat().join()).toMatch(isWarned ? /^the password goes to \S+ in plain text/ : /^$/);
  expect(complained.mock.calls.join()).not.toContain("secret");
});

test.each([
  ["mqtt://a", { isTls: false, host: "a" }],
  ["tcp://a:1884/", { isTls: false, host: "a", port: 1884 }],
  ["ssl://u:p%40w@[::1]:1/t/%", { isTls: true, username: "u", password: "p@w", host: "::1", port: 1, topic: "t/%" }],
  ["tls://a/t", { isTls: true, host: "a", topic: "t" }],
  ["mqtts://u@a/a/b?c#", { isTls: true, username: "u", host: "a", topic: "a/b?c#" }],
  ["ws://a", { isTls: false, host: "a", webSocketPath: "" }],
  ["wss://a:8081/mqtt?x=1", { isTls: true, host: "a", port: 8081, webSocketPath: "/mqtt?x=1" }],
  ["ws://a?x=1", { isTls: false, host: "a", webSocketPath: "?x=1" }],
  ["mqtt+unix:///run/a%20b.sock", { isTls: false, socket: "/run/a b.sock" }],
])("the URL %s is understood", (text, meant) => {
  expect(readBrokerUrl(text) as object).toEqual(meant);
});

test.each([
  "",
  "a",
  "http://a",
  "mqtt:a",
  "mqtt://",
  "mqtt:///t",
  "mqtt://a:0/t",
  "mqtt://a:65536/t",
  "mqtt://a:x",
  "ws://u:secret%zz@a",
  "mqtt+unix://a/b",
  "mqtt+unix:///",
  "mqtt://u:secret@",
  "toString://a",
])("the URL %j is refused in words, without its password", (text) => {
  expect(() => readBrokerUrl(text)).toThrow(/ is not /);
  try {
    readBrokerUrl(text);
  } catch (error) {
    expect(String(error)).not.toContain("secret");
  }
});

test.each([
  [{ ws: true }, { port: 80, webSocket: { path: "/mqtt", headers: [] } }, false],
  [{ ws: true, port: 443 }, { port: 443 }, true],
  [{ ws: true, insecure: true }, { port: 443 }, true],
  [{ ws: true, port: 8080, wsPath: "/x" }, { port: 8080, webSocket: { path: "/x", headers: [] } }, false],
  [{ url: "ws://a" }, { host: "a", port: 80, webSocket: { path: "/mqtt", headers: [] } }, false],
  [{ url: "wss://a/b?c" }, { port: 443, webSocket: { path: "/b?c", headers: [] } }, true],
  [{ url: "wss://a/b", wsPath: "/d", port: 1 }, { port: 1, webSocket: { path: "/d", headers: [] } }, true],
  [{ url: "ws://a?c" }, { webSocket: { path: "/?c", headers: [] } }, false],
  [{ url: "mqtt+unix:///s" }, { socket: "/s" }, false],
])("where %j leads", async (given, place, isTls) => {
  const { places, options } = readConnection({ ...flags, ...given });
  expect((await places())[0]).toMatchObject(place);
  expect(options.tls !== undefined).toBe(isTls);
});

test.each([
  [{ wsPath: "/x" }, /--ws-path and --ws-header need --ws/],
  [{ wsHeader: [["a", "b"] as const] }, /--ws-path and --ws-header need --ws/],
  [{ ws: true, zk: "zk:2181" }, /--zk does not go with --ws/],
  [{ ws: true, sn: true }, /--sn does not go with --ws/],
  [{ url: "ws://a/\r\nX: y" }, /is no path of a URL/],
])("what does not go together is refused: %j", (given, words) => {
  expect(() => readConnection({ ...flags, ...given })).toThrow(words);
});
