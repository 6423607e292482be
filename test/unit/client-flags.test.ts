/** The flags by which tools connect: where TLS is spoken, and who is told of a password in plain text. */
import { afterEach, beforeEach, expect, spyOn, test } from "bun:test";
import { type ConnectionFlags, readConnection, tlsOf } from "../../cli/flags/client-flags.ts";
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
  expect(() => tlsOf({ tls: false, insecure: true }, false)).toThrow(/--no-tls does not go with/);
  expect(() => readConnection({ ...flags, tls: false, url: "mqtts://a/t" })).toThrow(/--no-tls does not go with mqtts/);
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
