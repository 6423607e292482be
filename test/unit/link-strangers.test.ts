/** Strangers at the link port cannot keep a broker out, however many they are and whatever they say. */
import { expect, test } from "bun:test";
import { linkStrangersMax } from "../../src/base/limits.ts";
import { LinkConnection } from "../../src/broker/peers/link-connection.ts";
import { Links } from "../../src/broker/peers/links.ts";
import { Peer } from "../../src/broker/peers/peer.ts";
import { FrameReader, FrameType, jsonFrame } from "../../src/link/frames.ts";
import { decodeWelcome } from "../../src/link/json-frames.ts";
import { proofOf } from "../../src/link/proof.ts";
import type { Transport } from "../../src/net/transport.ts";
import { room } from "../support/room.ts";

const secret = "the cluster's";

function scene() {
  const { context } = room({ id: "b" });
  const peer = new Peer("a");
  peer.epoch = 5;
  context.peers.set("a", peer);
  const up: string[] = [];
  const flows = { linkUp: ({ id }: Peer) => up.push(id) } as never;
  const links = new Links(context, { flows: () => flows, dial: () => {}, secret });
  links.join(peer);
  let opened = 0;
  const accept = () => {
    const sent: number[] = [];
    const transport = {
      ...{ remote: "x", address: "", pause() {}, resume() {}, close() {}, abort() {} },
      write(bytes: Uint8Array, start: number, end: number) {
        sent.push(...bytes.subarray(start, end));
        return end - start;
      },
    } as unknown as Transport;
    const connection = new LinkConnection(transport, context.turn, { dialled: false, nonce: `n${opened++}` });
    links.opened(connection);
    return { connection, sent };
  };
  const hello = (epoch: number): Uint8Array =>
    jsonFrame(FrameType.hello, { protocol: "mqttzoo-link-1", id: "a", epoch, nonce: "mine" });
  return { accept, hello, links, peer, up };
}

test("the oldest that has said nothing makes place, and a broker that dials is linked", () => {
  const { accept, hello, links, up } = scene();
  const first = accept();
  // Known as a broker by its hello, it goes after all who have said nothing.
  links.received(first.connection, hello(5));
  const strangers = Array.from({ length: 3 * linkStrangersMax }, accept);
  const open = strangers.filter(({ connection }) => !connection.isClosed);
  expect([open.length, first.connection.isClosed]).toEqual([linkStrangersMax - 1, false]);
  expect(strangers.findIndex(({ connection }) => !connection.isClosed)).toBe(2 * linkStrangersMax + 1);
  let welcome: ReturnType<typeof decodeWelcome> | undefined;
  new FrameReader().feed(Uint8Array.from(first.sent), (_, bytes, start, end) => {
    welcome = decodeWelcome(bytes, start, end);
  });
  const proof = proofOf(secret, "dialler", ["mine", welcome!.nonce]);
  links.received(first.connection, jsonFrame(FrameType.confirm, { received: 0, proof }));
  expect(up).toEqual(["a"]);
});

test("those who say hello, and do not prove the secret, make place for each other", () => {
  const { accept, hello, links } = scene();
  const strangers = Array.from({ length: linkStrangersMax }, () => {
    const one = accept();
    links.received(one.connection, hello(5));
    return one;
  });
  const last = accept();
  expect([strangers[0]!.connection.isClosed, strangers[1]!.connection.isClosed, last.connection.isClosed]).toEqual([
    ...[true, false, false],
  ]);
});
