/** The handshake of links: who proves what first, to whom nothing is said, and brokers of the earlier order. */
import { expect, test } from "bun:test";
import { ProtocolError } from "../../src/base/errors.ts";
import { FrameReader, FrameType, jsonFrame } from "../../src/link/frames.ts";
import { Handshake, type HandshakeParts, type Member } from "../../src/link/handshake.ts";
import { decodeWelcome } from "../../src/link/json-frames.ts";
import { proofOf } from "../../src/link/proof.ts";

const names = Object.fromEntries(Object.entries(FrameType).map(([name, type]) => [type, name]));

/** One side of a handshake: `a` dials, `b` is dialled. What it sends stays in `sent` until it is handed over. */
function side(id: "a" | "b", more: Partial<HandshakeParts> & { readonly others?: Partial<Member> } = {}) {
  const sent: Uint8Array[] = [];
  const up: (readonly [string, number])[] = [];
  const [other, epoch] = id === "a" ? (["b", 20] as const) : (["a", 10] as const);
  let member: Member | undefined = { id: other, epoch, handshake: 2, received: epoch + 1, ...more.others };
  const handshake = new Handshake({
    self: { id, epoch: id === "a" ? 10 : 20 },
    secret: "the cluster's",
    nonce: `nonce of ${id}`,
    dialled: id === "a" ? "b" : undefined,
    member: (asked) => (asked === other ? member : undefined),
    send: (frame) => void sent.push(frame),
    up: (who, received) => void up.push([who, received]),
    ...more,
  });
  const hear = (frame: Uint8Array): void =>
    new FrameReader().feed(frame, (type, bytes, start, end) => handshake.frame(type, bytes, start, end));
  return {
    ...{ sent, up, handshake, hear },
    see: (now: Partial<Member> | undefined) => {
      member = now && { ...member!, ...now };
    },
  };
}

type Side = ReturnType<typeof side>;

/** Hands over what each side says, in turn, until nobody says anything; returns the frames by their names. */
function talk(dialler: Side, acceptor: Side): string[] {
  const said: string[] = [];
  dialler.handshake.begin();
  for (;;) {
    const [from, to] = dialler.sent.length > 0 ? [dialler, acceptor] : [acceptor, dialler];
    const frame = from.sent.shift();
    if (frame === undefined) return said;
    said.push(names[frame[4]!]!);
    to.hear(frame);
  }
}

test("who dials proves the secret first, and each is told what the other has received", () => {
  const [a, b] = [side("a"), side("b")];
  expect(talk(a, b)).toEqual(["hello", "challenge", "confirm", "welcome"]);
  expect([a.up, b.up]).toEqual([[["b", 11]], [["a", 21]]]);
});

test("a broker that knows only the earlier order is spoken to in that, whoever dials", () => {
  const older = { others: { handshake: 1 } };
  const [a, b] = [side("a", older), side("b", older)];
  expect(talk(a, b)).toEqual(["hello", "welcome", "confirm"]);
  expect([a.up, b.up]).toEqual([[["b", 11]], [["a", 21]]]);
});

test("who could be asked to prove it first, and has this broker do so, is refused before anything is proved", () => {
  const b = side("b");
  const hello = { protocol: "mqttzoo-link-1", id: "a", epoch: 10, nonce: "x" };
  expect(() => b.hear(jsonFrame(FrameType.hello, hello))).toThrow("a knows a newer handshake");
  expect([b.sent, b.up]).toEqual([[], []]);
});

test("a stranger is sent no proof, and what was heard of another connection proves nothing", () => {
  for (const proof of [
    "",
    proofOf("another", "dialler", ["x", "nonce of b"]),
    // What this broker would answer, and what a dialler has proved elsewhere.
    proofOf("the cluster's", "acceptor", ["x", "nonce of b"]),
    proofOf("the cluster's", "dialler", ["x", "nonce of c"]),
    proofOf("the cluster's", "dialler", ["nonce of b", "x"]),
  ]) {
    const b = side("b");
    b.hear(jsonFrame(FrameType.hello, { protocol: "mqttzoo-link-2", id: "a", epoch: 10, nonce: "x" }));
    expect(b.handshake.isNamed).toBe(true);
    expect(() => b.hear(jsonFrame(FrameType.confirm, { received: 0, proof }))).toThrow("a does not prove the secret");
    expect([b.sent.map((frame) => names[frame[4]!]), b.up]).toEqual([["challenge"], []]);
  }
});

test("who answers must prove it, too, for the challenge that it has sent", () => {
  const nonces = ["nonce of a", "its"] as const;
  const right = { protocol: "mqttzoo-link-2", id: "b", epoch: 20, nonce: "its", received: 0 };
  for (const [welcome, why] of [
    [{ ...right, proof: "" }, "b does not prove the secret"],
    [{ ...right, proof: proofOf("the cluster's", "dialler", nonces) }, "b does not prove the secret"],
    [{ ...right, nonce: "x", proof: proofOf("the cluster's", "acceptor", ["nonce of a", "x"]) }, "does not prove"],
    [{ ...right, id: "c", proof: proofOf("the cluster's", "acceptor", nonces) }, "c answers where b was dialled"],
    [{ ...right, epoch: 19, proof: proofOf("the cluster's", "acceptor", nonces) }, "b answers where b was dialled"],
  ] as const) {
    const a = side("a");
    a.handshake.begin();
    a.hear(jsonFrame(FrameType.challenge, { nonce: "its" }));
    expect(() => a.hear(jsonFrame(FrameType.welcome, welcome))).toThrow(why);
    expect(a.up).toEqual([]);
  }
});

test("who is no member, or not the one that is known, is refused", () => {
  const hello = { protocol: "mqttzoo-link-2", id: "a", epoch: 10, nonce: "x" };
  for (const bent of [{ epoch: 9 }, { id: "c" }, { protocol: "mqttzoo-link-3" }, { protocol: "" }]) {
    const b = side("b");
    const said = { ...hello, ...bent };
    expect(() => b.hear(jsonFrame(FrameType.hello, said))).toThrow(`${said.id} is not known in this incarnation`);
    expect(b.handshake.isNamed).toBe(false);
  }
  const gone = side("a");
  gone.see(undefined);
  expect(() => gone.handshake.begin()).toThrow("it has left");
});

test("who has left, or has come anew, before the end is not linked", () => {
  for (const now of [undefined, { epoch: 11 }]) {
    const b = side("b");
    b.hear(jsonFrame(FrameType.hello, { protocol: "mqttzoo-link-2", id: "a", epoch: 10, nonce: "x" }));
    b.see(now);
    const proof = proofOf("the cluster's", "dialler", ["x", "nonce of b"]);
    expect(() => b.hear(jsonFrame(FrameType.confirm, { received: 0, proof }))).toThrow("it has left");
    expect(b.up).toEqual([]);
  }
});

test("any frame that is not the next one ends it, in every step", () => {
  const bodies = { challenge: { nonce: "n" }, hello: {}, welcome: {}, confirm: { received: 0, proof: "" } };
  const frames = Object.entries(bodies).map(
    ([name, body]) => [name, jsonFrame(FrameType[name as "hello"], body)] as const,
  );
  const steps: readonly (readonly [next: string, reach: () => Side])[] = [
    ["challenge", () => begun(side("a"))],
    ["welcome", () => begun(side("a", { others: { handshake: 1 } }))],
    ["hello", () => side("b")],
    ["confirm", () => helloed(side("b"))],
  ];
  for (const [next, reach] of steps)
    for (const [name, frame] of [...frames, ["control", jsonFrame(FrameType.control, { say: "go" })] as const])
      if (name !== next) expect(() => reach().hear(frame)).toThrow(new ProtocolError(0x87, "no handshake"));
});

function begun(one: Side): Side {
  one.handshake.begin();
  return one;
}

function helloed(one: Side): Side {
  one.hear(jsonFrame(FrameType.hello, { protocol: "mqttzoo-link-2", id: "a", epoch: 10, nonce: "x" }));
  return one;
}

test("the last word names this broker as it is", () => {
  const b = helloed(side("b"));
  const proof = proofOf("the cluster's", "dialler", ["x", "nonce of b"]);
  b.hear(jsonFrame(FrameType.confirm, { received: 3, proof }));
  new FrameReader().feed(b.sent.at(-1)!, (_, bytes, start, end) => {
    expect(decodeWelcome(bytes, start, end)).toEqual({
      ...{ protocol: "mqttzoo-link-2", id: "b", epoch: 20, nonce: "nonce of b", received: 11 },
      proof: proofOf("the cluster's", "acceptor", ["x", "nonce of b"]),
    });
  });
});
