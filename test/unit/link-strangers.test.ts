/**
 * Connections at the link port: strangers cannot keep a broker out, however many they are and whatever they say, and
 * who is silent is given up.
 */
import { expect, test } from "bun:test";
import { linkHandshakeMs, linkSilenceMs, linkStrangersMax, silenceLookMs } from "../../src/base/limits.ts";
import { LinkConnection } from "../../src/broker/peers/link-connection.ts";
import { Links } from "../../src/broker/peers/links.ts";
import { Peer } from "../../src/broker/peers/peer.ts";
import { FrameReader, FrameType, jsonFrame } from "../../src/link/frames.ts";
import { decodeWelcome } from "../../src/link/json-frames.ts";
import { proofOf } from "../../src/link/proof.ts";
import type { Transport } from "../../src/net/transport.ts";
import { room } from "../support/room.ts";

const secret = "the cluster's";
const ping = jsonFrame(FrameType.ping, {});

function scene() {
  const { context, pass } = room({ id: "b" });
  const peer = new Peer("a");
  peer.epoch = 5;
  context.peers.set("a", peer);
  const up: string[] = [];
  const flows = {
    linkUp: ({ id }: Peer) => void up.push(id),
    linkDown: ({ id }: Peer) => void up.splice(up.indexOf(id), 1),
    control: () => {},
  } as never;
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
    const nonce = `n${opened++}`;
    const connection = new LinkConnection(transport, context.turn, { dialled: false, nonce, drained: () => {} });
    links.opened(connection);
    return { connection, sent };
  };
  const hello = (epoch: number): Uint8Array =>
    jsonFrame(FrameType.hello, { protocol: "mqttzoo-link-1", id: "a", epoch, nonce: "mine" });
  /** Ends the handshake as the other broker does, which has said hello. */
  const prove = ({ connection, sent }: ReturnType<typeof accept>): void => {
    let welcome: ReturnType<typeof decodeWelcome> | undefined;
    new FrameReader().feed(Uint8Array.from(sent), (_, bytes, start, end) => {
      welcome = decodeWelcome(bytes, start, end);
    });
    const proof = proofOf(secret, "dialler", ["mine", welcome!.nonce]);
    links.received(connection, jsonFrame(FrameType.confirm, { received: 0, proof }));
  };
  return { accept, hello, links, pass, peer, prove, up };
}

test("a link that is silent for too long is closed, but not before it was looked at once more what lies unread", () => {
  const { accept, hello, links, pass, prove, up } = scene();
  const one = accept();
  links.received(one.connection, hello(5));
  prove(one);
  // It was up in time: that it was opened long ago does not count.
  for (let heard = 0; heard < 4; heard++) {
    pass(linkSilenceMs + silenceLookMs / 2);
    expect([one.connection.isClosed, up]).toEqual([false, ["a"]]);
    links.received(one.connection, ping);
  }
  pass(linkSilenceMs + silenceLookMs);
  expect([one.connection.isClosed, up]).toEqual([true, []]);
});

test("what an earlier connection still brings during an earlier broker's handshake is not counted twice", () => {
  const { accept, hello, links, peer, prove, up } = scene();
  const [early, late] = [accept(), accept()];
  links.received(early.connection, hello(5));
  prove(early);
  // The other broker has given the connection up, but not everything that it has said there has been read.
  links.received(late.connection, hello(5));
  links.received(early.connection, jsonFrame(FrameType.control, { say: "seen", number: 1 }));
  prove(late);
  expect([late.connection.isClosed, up, peer.link!.received]).toEqual([true, ["a"], 1]);
  const next = accept();
  links.received(next.connection, hello(5));
  prove(next);
  expect([next.connection.isUp, early.connection.isClosed, up, peer.link!.received]).toEqual([true, true, ["a"], 1]);
});

test("a connection that does not shake hands in time is closed", () => {
  const { accept, hello, links, pass } = scene();
  const one = accept();
  pass(linkHandshakeMs - 1);
  links.received(one.connection, hello(5));
  expect(one.connection.isClosed).toBe(false);
  pass(1 + silenceLookMs);
  expect(one.connection.isClosed).toBe(true);
});

test("the oldest that has said nothing makes place, and a broker that dials is linked", () => {
  const { accept, hello, links, prove, up } = scene();
  const first = accept();
  // Known as a broker by its hello, it goes after all who have said nothing.
  links.received(first.connection, hello(5));
  const strangers = Array.from({ length: 3 * linkStrangersMax }, accept);
  const open = strangers.filter(({ connection }) => !connection.isClosed);
  expect([open.length, first.connection.isClosed]).toEqual([linkStrangersMax - 1, false]);
  expect(strangers.findIndex(({ connection }) => !connection.isClosed)).toBe(2 * linkStrangersMax + 1);
  prove(first);
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
