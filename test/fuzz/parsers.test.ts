/**
 * Everything else that reads what strangers, or careless operators, have written: bent, cut and random bytes may be
 * refused in each parser's own words, and nothing else may come of them. fast-check prints the seed of a failure.
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { Acl } from "../../src/access/acl.ts";
import { hashForScram } from "../../src/access/hashes.ts";
import { Hook } from "../../src/access/hook.ts";
import { parsePasswordFile } from "../../src/access/password-file.ts";
import { commonShape, ScramExchange } from "../../src/access/scram.ts";
import { fixedKeys, readTokenKeys } from "../../src/access/token-keys.ts";
import { looksLikeToken, Tokens } from "../../src/access/tokens.ts";
import { systemClock } from "../../src/base/clock.ts";
import { OperatingError } from "../../src/base/errors.ts";
import { silentLog } from "../../src/base/log.ts";
import { systemRandom } from "../../src/base/random.ts";
import { finish } from "../../src/base/slices.ts";
import { Broker } from "../../src/broker/broker.ts";
import { defaultOptions } from "../../src/broker/core/options.ts";
import { LinkConnection } from "../../src/broker/peers/link-connection.ts";
import { FrameType, jsonFrame } from "../../src/link/frames.ts";
import { readForeignDatabase } from "../../src/mosquitto/database.ts";
import { readDirectives } from "../../src/mosquitto/directives.ts";
import { planImport } from "../../src/mosquitto/plan.ts";
import { translate } from "../../src/mosquitto/translate.ts";
import { readProxyHeader } from "../../src/net/proxy-protocol.ts";
import type { Transport } from "../../src/net/transport.ts";
import { overWebSocket } from "../../src/net/websocket.ts";
import { FrameError, FrameParser } from "../../src/net/websocket-frames.ts";
import { Turn } from "../../src/net/writer.ts";
import { KeeperSession } from "../../src/zookeeper/keeper-session.ts";
import { instantCoordinator } from "../support/instant-coordinator.ts";
import { alone } from "../support/machine.ts";
import { chunksOf } from "../support/mosquitto-db.ts";

const runs = Number(process.env.MQTTZOO_FUZZ_SECONDS ?? 60) * 100;

/** A sample with some of its bytes changed, taken out or put in; or bytes that resemble nothing. */
function bent(samples: readonly Uint8Array[]): fc.Arbitrary<Uint8Array<ArrayBuffer>> {
  const edit = fc.record({
    at: fc.nat(),
    byte: fc.integer({ min: 0, max: 255 }),
    how: fc.constantFrom("set", "cut", "insert"),
  });
  const changed = fc.tuple(fc.constantFrom(...samples), fc.array(edit, { maxLength: 6 })).map(([sample, edits]) => {
    const bytes = [...sample];
    for (const { at, byte, how } of edits) {
      const place = at % (bytes.length + 1);
      if (how === "set") bytes[place] = byte;
      else bytes.splice(place, how === "cut" ? 1 : 0, ...(how === "cut" ? [] : [byte]));
    }
    return Uint8Array.from(bytes);
  });
  return fc.oneof(
    { weight: 4, arbitrary: changed },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => bytes.slice()) },
  );
}

const texts = (samples: readonly string[]): fc.Arbitrary<string> =>
  bent(samples.map((sample) => Buffer.from(sample))).map((bytes) => Buffer.from(bytes).toString("utf8"));

/** Fails if something throws that is not of its own kind. */
function throwsOnly(kind: abstract new (...args: never[]) => Error, what: () => void): void {
  try {
    what();
  } catch (error) {
    if (!(error instanceof kind)) throw error;
  }
}

const check = <Value>(arbitrary: fc.Arbitrary<Value>, property: (value: Value) => void): void =>
  fc.assert(fc.property(arbitrary, property), { numRuns: runs });

test("WebSocket frames and requests", () => {
  const frames = [
    [0x82, 0x82, 1, 2, 3, 4, 5, 6],
    [0x82, 0xfe, 0, 130, 1, 2, 3, 4, ...Array(130).fill(9)],
    [0x89, 0x80, 0, 0, 0, 0],
    [0x88, 0x82, 0, 0, 0, 0, 3, 232],
  ];
  check(bent(frames.map((frame) => Uint8Array.from(frame))), (bytes) => {
    const { length } = bytes;
    throwsOnly(FrameError, () => expect(new FrameParser().unwrap(bytes, () => {})).toBeLessThanOrEqual(length));
    const ofServer = new FrameParser("server");
    throwsOnly(FrameError, () => expect(ofServer.unwrap(bytes.slice(), () => {})).toBeLessThanOrEqual(length));
  });
  const request =
    "GET /mqtt HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
  const over = overWebSocket(
    { opened: () => 0, received() {}, drained() {}, closed() {} },
    { paths: ["/mqtt"], protocols: ["mqtt"] },
  );
  check(bent([Buffer.from(request)]), (bytes) => {
    let said = "";
    const write = (from: Uint8Array, start: number, end: number): number => {
      said += Buffer.from(from.subarray(start, end)).toString("latin1");
      return end - start;
    };
    over.received(over.opened({ ...deaf, write }), bytes);
    expect(said === "" || /^HTTP\/1\.1 \d{3} /.test(said)).toBe(true);
    // What a client sends must not come back as a header.
    expect(said.split("\r\n\r\n")[0]!.split("\r\n").length).toBeLessThanOrEqual(6);
  });
});

const deaf: Transport = {
  remote: "fuzz",
  address: "192.0.2.1",
  certificate: undefined,
  write: (_, start, end) => end - start,
  pause() {},
  resume() {},
  close() {},
  abort() {},
};

test("PROXY headers", () => {
  const binary = [
    13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21, 0x11, 0, 26, 192, 0, 2, 7, 10, 0, 0, 1, 1, 2, 3, 4, 0x20, 0,
    11, 7, 0, 0, 0, 0, 0x22, 0, 3, 97, 98, 99,
  ];
  check(bent([Uint8Array.from(binary), Buffer.from("PROXY TCP4 192.0.2.7 10.0.0.1 40000 1883\r\n")]), (bytes) => {
    throwsOnly(Error, () => {
      const header = readProxyHeader(bytes);
      if (header === undefined) return;
      expect(header.length).toBeLessThanOrEqual(bytes.length);
      expect(header.from.address).toMatch(/^[\d.a-fA-F:]*$/);
    });
  });
});

test("links: whoever has not shaken hands can say what it likes", async () => {
  const turn = new Turn((flush) => queueMicrotask(flush));
  const options = { ...defaultOptions, id: "a", zk: "x" };
  const broker = await Broker.start({
    ...alone,
    options,
    coordinator: instantCoordinator(),
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    turn,
    linkSecret: "secret",
  });
  const hello = { protocol: "mqttzoo-link-1", id: "b", epoch: 7, nonce: "n" };
  const samples = [
    jsonFrame(FrameType.hello, hello),
    jsonFrame(FrameType.hello, { ...hello, protocol: "mqttzoo-link-2" }),
    jsonFrame(FrameType.challenge, { nonce: "n" }),
    jsonFrame(FrameType.hello, [hello]),
    jsonFrame(FrameType.hello, { ...hello, id: ["b"], nonce: { a: 1 } }),
    jsonFrame(FrameType.welcome, { ...hello, received: -1, proof: 5 }),
    jsonFrame(FrameType.confirm, { received: "x", proof: null }),
    jsonFrame(FrameType.control, { say: "hold" }),
    Uint8Array.of(0, 0, 0, 5, FrameType.hello, 110, 117, 108, 108),
    Uint8Array.of(0x10, 0, 0, 0, FrameType.hello, 1),
  ];
  check(bent(samples), (bytes) => {
    const connection = new LinkConnection(deaf, turn, { dialled: false, nonce: "m", drained: () => {} });
    broker.handle({ kind: "linkOpened", connection });
    broker.handle({ kind: "linkReceived", connection, bytes });
    expect(connection.isUp).toBe(false);
    broker.handle({ kind: "linkClosed", connection, why: undefined });
  });
  broker.handle({ kind: "shutdown", done: () => {} });
});

test("what a ZooKeeper server says", () => {
  const lines = readFileSync(join(import.meta.dir, "../zookeeper/wire.txt"), "utf8").split("\n");
  const said = lines
    .filter((line) => line.startsWith("<"))
    .map((line) => Uint8Array.from(Buffer.from(line.slice(2), "hex")));
  const welcome = said.find(({ length }) => length > 30)!;
  check(
    fc.tuple(fc.boolean(), fc.array(bent(said.filter(({ length }) => length < 2000)), { minLength: 1, maxLength: 3 })),
    ([isWelcome, answers]) => {
      const states = new Set<string>();
      const session = new KeeperSession(
        { servers: [{ host: "h", port: 1 }], sessionTimeoutMs: 1000, packetBytesMax: 1_000_000, random: systemRandom },
        { dial() {}, send() {}, hangUp() {}, stateChanged: (now) => void states.add(now), sooner() {} },
      );
      session.request({ type: 4, path: "/", write: () => {}, done: () => {} });
      session.tick(1);
      session.dialled(2);
      if (isWelcome) session.received(welcome, 3);
      for (const answer of answers) session.received(answer, 4);
      expect(states.size).toBeLessThanOrEqual(3);
    },
  );
});

test("access lists and password files", () => {
  check(
    texts(["user a\ntopic readwrite a/#\ntopic deny b\npattern read c/%u/%c\n", "# x\npattern write $SYS/+"]),
    (text) => {
      throwsOnly(OperatingError, () => {
        const permissions = finish(Acl.read(text)).permissionsOf({ username: "a", clientId: "c" });
        permissions.mayPublish("a/b");
        permissions.maySubscribe(["#"]);
      });
    },
  );
  const hash =
    "$7$101$Tkqrv91wLcY51f4q$WHuYmzI9OSrCiXjk47vpZI2p7m0x6F/bl88DaJlNHewI0xXUNFT8isIERjs7NAVfCivS3I36cNkaiSYAnG3ovA==";
  check(texts([`a:${hash}\n# x\nb:$argon2id$v=19$m=1,t=1,p=1$YQ$YQ\n`]), (text) =>
    throwsOnly(OperatingError, () => parsePasswordFile(text)),
  );
});

test("SCRAM, tokens and a hook's answers", async () => {
  const users = new Map([["user", await hashForScram("pencil", { iterations: 1, salt: Buffer.from("salt") })]]);
  const steps = fc.tuple(
    texts(["n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "y,a=user,n=us=2Cer,r=x"]),
    texts(["c=biws,r=rOprNGfwEbeRWgbNEkqOn,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="]),
  );
  check(steps, ([first, final]) => {
    const exchange = new ScramExchange(users, {
      decoys: { secret: new Uint8Array(32), ...commonShape(users) },
      nonce: "n",
    });
    exchange.first(Buffer.from(first));
    expect(exchange.final(Buffer.from(final)).kind).toBe("refused");
  });
  const tokens = new Tokens(fixedKeys(readTokenKeys("0123456789abcdef0123456789abcdef")));
  const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkZXYifQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
  await fc.assert(
    fc.asyncProperty(texts([token]), async (text) => {
      looksLikeToken(text);
      expect(await tokens.verify(text, { now: 0, wall: 0 }).catch(() => "refused")).toBe("refused");
    }),
    { numRuns: runs / 10 },
  );
  check(
    texts(['{"keys":[{"kty":"oct","k":"AAAA"}]}', "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]),
    (text) => throwsOnly(OperatingError, () => readTokenKeys(text)),
  );
  const question = { clientid: "c", username: null, password: null, address: "", certificate: null };
  await fc.assert(
    fc.asyncProperty(texts(['{"result":"allow","acl":{"pub":["a"],"all":[1]}}', '{"result":"deny"}']), async (body) => {
      const answer = await new Hook("", () => Promise.resolve({ status: 200, body })).ask(question, 0);
      expect(["allow", "deny", "ignore"]).toContain(answer.result);
    }),
    { numRuns: runs / 10 },
  );
});

test("configurations of mosquitto's: whatever stands there becomes options or words", () => {
  const names = ["listener", "port", "certfile", "require_certificate", "allow_anonymous", "password_file", "protocol"];
  const more = ["per_listener_settings", "log_type", "max_connections", "persistent_client_expiration", "connection"];
  const lines = [...names, ...more].flatMap((name) => [`${name} true`, `${name} 1883 ::1`, name, `${name} -1h`]);
  const samples = [lines.join("\n"), lines.toReversed().join("\n"), "listener 0 /a\npsk_hint x\n", ""];
  fc.assert(
    fc.property(texts(samples), (text) => {
      const files = { readText: () => text, list: () => [] };
      const { options, remarks } = translate(readDirectives("x", files), (path) => path);
      expect(options.has("port")).toBe(true);
      for (const { place, words } of remarks) expect(place !== "" && words !== "").toBe(true);
    }),
    { numRuns: Math.min(runs, 2000) },
  );
});

test("what mosquitto has kept: any file is read, or refused with a place in it", () => {
  const samples = ([5, 6] as const).map((format) => {
    const of = chunksOf(format);
    const properties = Uint8Array.of(4, 0x01, 1, 0x0b, 3);
    const messages = [of.message(1, "a/b", "payload", { properties }), of.message(2, "c", "", { qos: 2, retain: 1 })];
    const deliveries = [
      of.delivery("one", 1, { properties }),
      of.delivery("one", 2, { direction: 0, state: 7, qos: 2 }),
    ];
    const client = [of.client("one", 300, { user: "u" }), of.subscription("one", "a/#", 2, 0x2c, 9)];
    return of.file(of.settings(), ...messages, ...client, of.retained(2), ...deliveries, of.strange());
  });
  fc.assert(
    fc.property(bent(samples), (bytes) => {
      try {
        const plan = planImport(readForeignDatabase(bytes), 0);
        for (const { publish } of [...plan.retained, ...plan.mail]) expect(publish.payloadLength).toBeLessThan(1000);
      } catch (error) {
        if (!(error instanceof OperatingError)) throw error;
        expect(error.message).not.toBe("");
      }
    }),
    { numRuns: runs },
  );
});
