/** The frames between brokers: each is read as it was written, and whatever else comes closes the link, no more. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import { Arriving } from "../../src/broker/cluster/arriving.ts";
import { decodeDelivery, deliveryFrame } from "../../src/link/delivery-frame.ts";
import { bundleFrame, type Control, FrameType, frameHeadBytes, jsonFrame, type Remain } from "../../src/link/frames.ts";
import {
  decodeChallenge,
  decodeHello,
  decodeLinkControl,
  decodeRemain,
  decodeWelcome,
} from "../../src/link/json-frames.ts";
import { room } from "../support/room.ts";

const controls: readonly Control[] = [
  { say: "claim", number: 3, clientId: "c", stamp: 1700000000000.25, clean: false },
  { say: "claimed", number: 3, granted: true },
  {
    say: "hosting",
    sessions: [
      [1, "c"],
      [2, ""],
    ],
  },
  { say: "hosting", sessions: [] },
  { say: "unhosting", handles: [1] },
  { say: "see", number: 1, zxid: 2 ** 40 },
  { say: "seen", number: 1 },
  { say: "freed", paths: ["/topics/a/=1"] },
  { say: "ask", number: 1, question: "{}" },
  { say: "answered", number: 1, answer: "ä" },
  { say: "remained" },
  { say: "short" },
  { say: "hold" },
  { say: "go" },
];
const hello = { protocol: "mqttzoo-link-1", id: "b", epoch: 7, nonce: "n" } as const;
const remains: readonly Remain[] = [
  { id: 4, handles: [1], groups: ["$share/g/t"] },
  { id: 4, unpaid: true, handles: [], groups: [] },
];

type Decode = (bytes: Uint8Array, start: number, end: number) => unknown;

function decoded(decode: Decode, body: object): unknown {
  const bytes = jsonFrame(FrameType.control, body);
  return decode(bytes, frameHeadBytes, bytes.length);
}

const samples: readonly (readonly [Decode, object])[] = [
  [decodeHello, hello],
  [decodeChallenge, { nonce: "n" }],
  [decodeWelcome, { ...hello, received: 5, proof: "" }],
  ...remains.map((remain) => [decodeRemain, remain] as const),
  ...controls.map((control) => [decodeLinkControl, control] as const),
];

test("what a broker says is read as it was said, with fields that are not known here", () => {
  for (const [decode, body] of samples) {
    expect(decoded(decode, body)).toEqual(body);
    expect(decoded(decode, { ...body, later: [1] })).toEqual({ ...body, later: [1] });
  }
});

test("a field of another kind, or none at all, is the other side's fault", () => {
  for (const [decode, body] of samples)
    for (const name of Object.keys(body)) {
      if (name === "unpaid") continue;
      const value = body[name as keyof typeof body];
      for (const other of [undefined, null, {}, [null], [[1]], typeof value === "string" ? 1 : "1"])
        expect(() => decoded(decode, { ...body, [name]: other })).toThrow(ProtocolError);
    }
});

test("what nobody says closes the link, whatever it is", () => {
  const say = fc.oneof(fc.constantFrom("nonsense", "__proto__", "constructor", "toString"), fc.jsonValue());
  fc.assert(
    fc.property(say, fc.jsonValue(), (said, rest) => {
      const isKnown = controls.some((control) => control.say === said);
      const body = { ...(rest as object | null), say: said };
      if (!isKnown) expect(() => decoded(decodeLinkControl, body)).toThrow(ProtocolError);
    }),
  );
});

test("a delivery names its user, if there is to be one; else it is as brokers without users know it", () => {
  const packet = Uint8Array.of(0x32, 5, 0, 1, 0x74, 0, 1, 0);
  for (const payer of [undefined, "", "alice", "zoë"])
    for (const toInterest of [true, false]) {
      const frame = deliveryFrame(FrameType.publish, { ...delivery, toInterest, payer }, packet);
      const read = decodeDelivery(frame, frameHeadBytes, frame.length);
      const packetStart = frame.length - packet.length;
      expect(read).toEqual({ ...delivery, toInterest, payer, name: undefined, isAgain: false, packetStart });
      if (payer === undefined) expect(frame[frameHeadBytes + 12]).toBe(toInterest ? 1 : 0);
    }
});

test("a delivery names its publish, if there is to be a name; else it is as brokers without names know it", () => {
  const packet = Uint8Array.of(0x32, 5, 0, 1, 0x74, 0, 1, 0);
  const number = fc.maxSafeNat();
  const name = fc.record({ epoch: number, number, zxid: number });
  fc.assert(
    fc.property(
      fc.option(name, { nil: undefined }),
      fc.boolean(),
      fc.constantFrom(undefined, "", "alice"),
      (...what) => {
        const [named, isAgain, payer] = what;
        const said = { ...delivery, payer, name: named, isAgain: named !== undefined && isAgain };
        const frame = deliveryFrame(FrameType.publish, said, packet);
        const read = decodeDelivery(frame, frameHeadBytes, frame.length);
        expect(read).toEqual({ ...said, packetStart: frame.length - packet.length });
        expect(frame[frameHeadBytes + 12]! & 12).toBe(named === undefined ? 0 : isAgain ? 12 : 4);
      },
    ),
  );
});

const named = { epoch: 2 ** 40 + 1, number: 7, zxid: 2 ** 33 + 5 };
const delivery = { id: 1, zxid: 5, toInterest: false, handles: [3], groups: ["$share/g/t"] };

test("a delivery that is cut or bent is the other side's fault", () => {
  const whole = deliveryFrame(
    FrameType.publish,
    { ...delivery, name: named },
    Uint8Array.of(0x32, 5, 0, 1, 0x74, 0, 1, 0),
  );
  expect(decodeDelivery(whole, frameHeadBytes, whole.length)).toMatchObject(delivery);
  const packetStart = whole.length - 8;
  for (let end = frameHeadBytes; end < packetStart; end++)
    expect(() => decodeDelivery(whole, frameHeadBytes, end)).toThrow(ProtocolError);
  const bent = fc.tuple(fc.nat(packetStart - frameHeadBytes - 1), fc.nat(255));
  fc.assert(
    fc.property(bent, ([place, byte]) => {
      const bytes = whole.with(frameHeadBytes + place, byte);
      try {
        expect(decodeDelivery(bytes, frameHeadBytes, bytes.length).packetStart).toBeLessThanOrEqual(bytes.length);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }),
  );
});

test("a message that must wait for mailboxes is looked at before it waits: later nobody could be blamed for it", () => {
  const coordinator = { seenZxid: 0, sync: () => {} };
  const arriving = new Arriving({ coordinator } as never, {} as never);
  // QoS 3; a packet whose length is more than there is.
  for (const packet of [Uint8Array.of(0x36, 6, 0, 1, 0x74, 0, 1, 0), Uint8Array.of(0x32, 60, 0, 1, 0x74, 0, 1, 0)]) {
    const bytes = deliveryFrame(FrameType.publish, delivery, packet);
    expect(() => arriving.delivery({} as never, bytes, frameHeadBytes, bytes.length)).toThrow(ProtocolError);
  }
});

test("what another broker says on a topic of the broker's own reaches nobody here, and is settled", () => {
  const noted: string[] = [];
  const note = (what: string) => (): { settlement: undefined } => {
    noted.push(what);
    return { settlement: undefined };
  };
  const fanout = {
    takesVerbatim: () => false,
    isUnderWay: () => false,
    liveHere: note("live"),
    offerHere: note("offer"),
    deliverHere: note("deliver"),
  };
  const arrive = (topic: string): string[] => {
    const { context } = room();
    const registry = { has: () => true };
    const arriving = new Arriving(context, { fanout, registry } as never);
    const peer = {
      hasSentBack: true,
      settledHere: (id: number) => void noted.push(`settled ${id}`),
      link: {},
    } as never;
    const text = [...encodeUtf8(topic)];
    const atZero = Uint8Array.of(0x30, 3 + text.length, 0, text.length, ...text, 0);
    const atOne = Uint8Array.of(0x32, 5 + text.length, 0, text.length, ...text, 0, 1, 0);
    const packets = { bytes: atOne, start: 0, end: atOne.length, count: 1, version5: true };
    const run = Uint8Array.of(1, 0, 0, 0, 1, ...atZero);
    arriving.run(peer, run, 0, run.length);
    const bundle = bundleFrame(7, packets);
    arriving.bundle(peer, bundle, frameHeadBytes, bundle.length);
    const one = deliveryFrame(FrameType.publish, { ...delivery, id: 8, zxid: 0, handles: [], groups: [] }, atOne);
    arriving.delivery(peer, one, frameHeadBytes, one.length);
    return noted.splice(0);
  };
  expect(arrive("open/x")).toEqual(["live", "offer", "settled 7", "deliver", "settled 8"]);
  expect(arrive("$SYS/x")).toEqual(["settled 7", "settled 8"]);
});
