/** Numbers that grow: what is counted in 32 bits, or written in so many digits, goes on beyond them. */
import { expect, test } from "bun:test";
import { readUint32 } from "../../src/base/bytes.ts";
import { Peer } from "../../src/broker/peers/peer.ts";
import { FrameType } from "../../src/link/frames.ts";
import { Link } from "../../src/link/link.ts";
import { epochOfId, Mail } from "../../src/mail/mail.ts";
import { makePublish } from "../../src/mqtt/publish.ts";

const nothing = new Uint8Array(0);

/** The id that a broker of an epoch gives to its next message. */
function idOf(epoch: number): string {
  const ledger = {
    branch: "b",
    guard: () => undefined,
    keep: () => {},
    termsOf: () => ({ credits: 0, keepUntil: 1 }),
    priceOf: () => 0,
  };
  const journal = { unitBytesMax: 1e6, commit: () => {} };
  const mail = new Mail({ journal, ledger, slips: undefined, epoch } as never);
  const publish = makePublish(Uint8Array.of(0x74), nothing, { qos: 1, retain: false });
  return mail
    .storeInDrop(publish, { publisher: "p", payment: undefined, keeping: "drop" } as never)
    .path.slice("/topics/t/=".length);
}

test("ids of messages sort by epoch, and tell it, also beyond the 656th election", () => {
  const epochs = [1, 2 ** 32 + 5, 656 * 2 ** 32, 36 ** 8 - 1, 36 ** 8, 657 * 2 ** 32 + 7, 5000 * 2 ** 32, 2 ** 53 - 1];
  const ids = epochs.map(idOf);
  expect(ids.map(epochOfId)).toEqual(epochs);
  expect([...ids].sort()).toEqual(ids);
  expect(ids[0]).toBe("0000000100000001-0");
  for (const foreign of ["", "x", "visitor", "00ab", "%zz", "0000000100000001"]) expect(epochOfId(foreign)).toBeNaN();
});

test("a link acknowledges its frames beyond 2^32", () => {
  const before = 2 ** 32 - 3;
  const sent: Uint8Array[] = [];
  const acks: number[] = [];
  const carrier = (onAppend: (bytes: Uint8Array) => void) => {
    const buffer = new Uint8Array(64);
    return { unsent: 0, packets: 0, buffer, reserve: () => 0, append: onAppend, lend: onAppend };
  };
  const [near, far] = [new Link(1, before), new Link(1, before)];
  const back = carrier(() => {});
  near.up(
    carrier((bytes) => void sent.push(bytes)),
    before,
  );
  far.up(back, before);
  for (let index = 0; index < 6; index++) {
    near.send(Uint8Array.of(index));
    far.count(FrameType.control);
    far.acknowledge();
    acks.push(readUint32(back.buffer, 5));
    near.acknowledged(acks.at(-1)!);
  }
  expect(acks).toEqual([before + 1, before + 2, 0, 1, 2, 3]);
  // What has been acknowledged is not sent again over the next connection; an old word says nothing.
  near.acknowledged(before + 1);
  near.send(Uint8Array.of(6));
  sent.length = 0;
  near.up(
    carrier((bytes) => void sent.push(bytes)),
    far.received,
  );
  expect(sent).toEqual([Uint8Array.of(6)]);
});

test("deliveries are numbered in 32 bits, without 0", () => {
  const peer = new Peer("b", 2 ** 32 - 3);
  expect([1, 2, 3, 4].map(() => peer.nextDeliveryId())).toEqual([2 ** 32 - 2, 2 ** 32 - 1, 1, 2]);
});
