/** `--proto` of pub and sub: Protocol Buffers on the wire, JSON for people, and nothing that is silently left out. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { NotOfFormat } from "../../cli/output/payload-formats.ts";
import { protobufCodec } from "../../cli/output/protobuf.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { executable, runExecutable } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "mqttzoo-proto-"));
const path = join(folder, "meter.proto");
let broker: TestBroker;
let to: readonly string[];

beforeAll(async () => {
  mkdirSync(join(folder, "more"));
  writeFileSync(
    path,
    `syntax = "proto3";
package plant;
import "more/place.proto";
import "google/protobuf/timestamp.proto"; enum State { IDLE = 0; RUNNING = 1; }
message Reading {
  int64 serial_number = 1;
  double power = 2;
  State state = 3;
  bytes raw = 4;
  repeated uint32 samples = 5;
  map<string, sint32> offsets = 6;
  Place place = 7;
  oneof more { string note = 8; bool isLast = 9; }
  google.protobuf.Timestamp at = 10;
}
message Other { string name = 1; }
`,
  );
  writeFileSync(
    join(folder, "more/place.proto"),
    'syntax = "proto3"; package plant; message Place { string hall = 1; }\n',
  );
  broker = await startBroker();
  to = ["-h", "127.0.0.1", "-p", String(broker.port)];
});
afterAll(async () => {
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

const written =
  '{"serial_number":"9007199254740993","power":2.5,"state":"RUNNING","raw":"/wA=","samples":[1,4294967295],' +
  '"offsets":{"a":-3},"place":{"hall":"süd"},"note":"ok","at":{"seconds":"12"}}';

/** Runs protoc, which knows nothing of the code under test. */
function protoc(mode: string, input: Uint8Array): Buffer {
  const { stdout, exitCode, stderr } = Bun.spawnSync(["protoc", `--${mode}=plant.Reading`, "-I", folder, path], {
    stdin: input,
  });
  if (exitCode !== 0) throw new Error(stderr.toString());
  return stdout;
}

test("pub makes of JSON what sub prints as JSON", async () => {
  const { router } = broker.server.broker.context;
  const reader = Bun.spawn([executable, "sub", ...to, "-t", "m", "--proto", path, "--message", "Reading", "-C", "1"], {
    stdout: "pipe",
  });
  const raw = Bun.spawn([executable, "sub", ...to, "-t", "m", "-C", "1", "-N"], { stdout: "pipe" });
  await eventually(() => router.subscriptions === 2, "both subscribe");
  const pub = ["pub", ...to, "-t", "m", "--proto", path, "--message", "plant.Reading", "-m", written];
  expect(await runExecutable(pub)).toEqual({ code: 0, out: "", err: "" });
  const { serial_number, ...others } = JSON.parse(written);
  expect(JSON.parse(await new Response(reader.stdout).text())).toEqual({ serialNumber: serial_number, ...others });
  const bytes = Buffer.from(await new Response(raw.stdout).bytes());
  // Field 1, varint 2^53 + 1; field 2, a double.
  expect(bytes.toString("hex")).toStartWith("088180808080808010" + "11" + "0000000000000440");
  if (Bun.which("protoc") !== null)
    expect(protoc("decode", bytes).toString()).toContain("serial_number: 9007199254740993");
}, 60_000);

describe("a payload", () => {
  const show = async (bytes: string, name = "Reading"): Promise<string> =>
    (await protobufCodec(path, name)).show(Buffer.from(bytes, "hex"));
  const read = async (json: string, name = "Reading"): Promise<string> =>
    Buffer.from((await protobufCodec(path, name)).read(Buffer.from(json))).toString("hex");

  test("of known bytes", async () => {
    expect(await show("0a03616263", "Other")).toBe('{"name":"abc"}');
    expect(await read('{"name":"abc"}', "Other")).toBe("0a03616263");
    expect(await read('{"offsets":{"a":-3}}')).toBe("32050a01611005");
    expect(await read("{}")).toBe("");
  });

  test.each([
    ['{"nme":"x"}', /^Reading has no field nme; there are serialNumber, power,/],
    ['{"power":"much"}', /^Reading.power must be a number/],
    ['{"state":"BROKEN"}', /^Reading.state must be one of IDLE, RUNNING/],
    ['{"samples":[-1]}', /^Reading.samples must be a whole number \(uint32\)/],
    ['{"samples":[4294967296]}', /^Reading.samples must be a whole number \(uint32\)/],
    ['{"serialNumber":1.5}', /^Reading.serialNumber must be a whole number \(int64\)/],
    ['{"samples":1}', /^Reading.samples must be a list/],
    ['{"offsets":[1]}', /^Reading.offsets must be an object/],
    ['{"raw":"%"}', /^Reading.raw must be base64/],
    ['{"isLast":"yes"}', /^Reading.isLast must be true or false/],
    ['{"place":{"floor":1}}', /^Reading.place has no field floor; there are hall/],
    ["[]", /^Reading must be an object/],
    ["x", /JSON/],
  ] as const)("%s is refused", async (json, why) => {
    const codec = await protobufCodec(path, "Reading");
    let error: unknown;
    try {
      codec.read(Buffer.from(json));
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(NotOfFormat);
    expect((error as Error).message).toMatch(why);
  });

  test("of any bytes is shown, or is none; what is shown is read again", async () => {
    const codec = await protobufCodec(path, "Reading");
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        let shown: string;
        try {
          shown = codec.show(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(NotOfFormat);
          return;
        }
        expect(() => JSON.parse(shown)).not.toThrow();
      }),
    );
    const reading = fc.record(
      {
        serialNumber: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
        power: fc.double({ noNaN: true, noDefaultInfinity: true }).map((one) => (one === 0 ? 0 : one)),
        samples: fc.array(fc.nat(4_294_967_295), { minLength: 1 }),
        note: fc.string({ unit: "grapheme" }),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(reading, (given) => {
        const again = JSON.parse(codec.show(codec.read(Buffer.from(JSON.stringify(given)))));
        for (const [name, value] of Object.entries(given))
          if (value !== 0 && value !== "0") expect(again[name]).toEqual(value);
      }),
    );
  });
});

test("a payload that is none is printed in hex, and told of once", async () => {
  const { router } = broker.server.broker.context;
  await eventually(() => router.subscriptions === 0, "others are gone");
  const words = ["sub", ...to, "-t", "odd", "--proto", path, "--message", "Other", "--output", "json", "-C", "1"];
  const child = Bun.spawn([executable, ...words], { stdout: "pipe", stderr: "pipe" });
  await eventually(() => router.subscriptions === 1, "it subscribes");
  await runExecutable(["pub", ...to, "-t", "odd", "--format", "hex", "-m", "0aff"]);
  expect(JSON.parse(await new Response(child.stdout).text())).toMatchObject({ format: "hex", payload: "0aff" });
  expect(await new Response(child.stderr).text()).toMatch(
    /^mqttzoo: a message of odd is not protobuf \(.*\): it is printed/,
  );
}, 60_000);

test.each([
  [["--proto", "NONE", "--message", "Reading"], /cannot read .*NONE: ENOENT.*: there is no such file/],
  [["--proto", "BAD", "--message", "Reading"], /BAD is no .proto file: .*line 2/],
  [["--proto", "LONELY"], /LONELY imports nobody.proto, which is not there/],
  [["--proto", "meter.proto"], /name the message with --proto-message; there are .*plant.Reading, plant.Other/],
  [["--proto", "meter.proto", "--message", "Reding"], /there is no message Reding in .*; there are/],
  [["--proto", "meter.proto", "--message", "Other", "--format", "cbor"], /--proto does not go with --format/],
  [["--proto-message", "Other"], /--proto-message belongs to --proto/],
  [
    ["--proto", "meter.proto", "--message", "Other", "-m", '{"nme":1}'],
    /the message is not JSON to make protobuf of \(Other has no field nme/,
  ],
] as const)("%j is one line", async (words, said) => {
  writeFileSync(join(folder, "BAD"), 'syntax = "proto3";\nmessage {\n');
  writeFileSync(join(folder, "LONELY"), 'syntax = "proto3"; import "nobody.proto"; message A { int32 a = 1; }\n');
  const args = words.map((word) => (/^(NONE|BAD|LONELY|meter.proto)$/.test(word) ? join(folder, word) : word));
  const message = words.includes("-m" as never) ? [] : ["-m", "{}"];
  const { code, out, err } = await runExecutable(["pub", "-p", "1", "-t", "a", ...message, ...args]);
  expect([code, out, err.trim().split("\n").length]).toEqual([2, "", 1]);
  expect(err).toMatch(said);
});
