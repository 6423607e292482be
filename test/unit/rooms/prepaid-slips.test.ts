/** The payment of a session's slips at QoS 2: before they are sent, and as long as they may stay. */
import { expect, test } from "bun:test";
import { heldIdsFreeMax, slipsFreeMax, slipsIdleMs, slipsRetryMs } from "../../../src/base/bank-limits.ts";
import type { Connection } from "../../../src/broker/delivery/connection.ts";
import { OutgoingMessage, reserved } from "../../../src/broker/delivery/outgoing-message.ts";
import { mailPath, prepaidSlipsPath, sessionPath } from "../../../src/coordinator/paths.ts";
import { idSlipWeightOf, nodeWeightOf, placeWeightOf, sessionWeightOf } from "../../../src/coordinator/weight.ts";
import { decodeSlip, encodeSlip } from "../../../src/mail/records.ts";
import { type Slip, unreadSlip } from "../../../src/mail/slips.ts";
import { blankSlip } from "../../support/blank-slip.ts";
import { room, settled } from "../../support/room.ts";

const target = { qos: 2 as const, retain: false, subscriptionIds: [], group: undefined };

function scene() {
  const made = room();
  const { store, context } = made;
  store.put(sessionPath("c"), "{}");
  const client = made.session("c", 100);
  client.attach({ channel: { phase: "open" } } as unknown as Connection, 1000);
  const { prepaid } = client.mailbox!;
  /** Sends as many messages as are covered, `most` at most. Returns how many. */
  const send = (most: number): number => {
    let sent = 0;
    for (; sent < most && prepaid.coversOneMore(); sent++)
      client.inflight.add(new OutgoingMessage(client, target, undefined));
    return sent;
  };
  const finish = (): void => {
    for (let id = 1; id <= 1100; id++) client.inflight.remove(id);
  };
  const { account } = context.bankAccount;
  const isThere = async (): Promise<boolean> => {
    await settled();
    const is = store.tree.nodes.has(prepaidSlipsPath("c"));
    // The branch has bound something for as long as it is there.
    expect(account.bound > 0).toBe(is);
    return is;
  };
  const beggar = (isPoor: boolean): void => {
    account.grant = isPoor ? account.bound : Number.MAX_SAFE_INTEGER;
  };
  return { ...made, client, prepaid, send, finish, isThere, beggar, account };
}

test("a few come with the session; more are paid for, all that are under way, and given back when they are not needed", async () => {
  const { send, finish, isThere, pass, account } = scene();
  expect(send(slipsFreeMax)).toBe(slipsFreeMax);
  expect(await isThere()).toBe(false);
  expect(send(100)).toBe(100);
  expect(await isThere()).toBe(true);
  expect(account.bound).toBeGreaterThanOrEqual(40 * 100 * idSlipWeightOf(sessionPath("c")));
  finish();
  pass(slipsIdleMs);
  expect(await isThere()).toBe(true);
  pass(slipsIdleMs);
  expect(await isThere()).toBe(false);
  expect(send(slipsFreeMax + 1)).toBe(slipsFreeMax + 1);
  expect(await isThere()).toBe(true);
  pass(4 * slipsIdleMs);
  expect(await isThere()).toBe(true);
});

test("where nobody can pay no more are sent than come with the session, and it is tried again", async () => {
  const { send, isThere, beggar, pass, prepaid, client } = scene();
  beggar(true);
  expect(send(10)).toBe(slipsFreeMax);
  expect([prepaid.isShort, client.mailbox!.isHeldUp]).toEqual([true, true]);
  beggar(false);
  expect(send(10)).toBe(0);
  pass(slipsRetryMs);
  expect(send(10)).toBe(10);
  expect([prepaid.isShort, await isThere()]).toEqual([false, true]);
});

test("what was sent in earlier connections counts; but where nothing is under way one is sent", () => {
  const { send, beggar, client } = scene();
  beggar(true);
  for (let id = 1; id <= 20; id++) client.inflight.restore(id, reserved);
  expect(send(10)).toBe(1);
});

test("what is paid stays when the client goes with slips that were sent, and goes otherwise", async () => {
  const { send, isThere, client, finish, prepaid, context } = scene();
  send(10);
  client.detach();
  expect(await isThere()).toBe(true);
  // It is the same for a broker that finds it in the store.
  client.attach({ channel: { phase: "open" } } as unknown as Connection, 1000);
  prepaid.found(0);
  for (let id = 1; id <= 10; id++) client.inflight.restore(id, reserved);
  client.detach();
  expect(await isThere()).toBe(true);
  client.attach({ channel: { phase: "open" } } as unknown as Connection, 1000);
  send(10);
  finish();
  client.detach();
  expect(await isThere()).toBe(false);
  await new Promise<void>((done) => context.journal.drained(done));
});

test("slips for what lies in mail drops are paid for also while their messages are under way", async () => {
  const { prepaid, client, account } = scene();
  const record = { ...blankSlip, recipients: 0, messagePath: `/topics/drop/${"long".repeat(500)}/=1` };
  const outgoing = new OutgoingMessage(client, target, undefined);
  outgoing.placed({ ...unreadSlip("c", "0000000001"), record });
  client.inflight.add(outgoing);
  const weight = prepaid.dropWeightOf(record);
  expect(prepaid.coveredDrops([weight, weight])).toBe(2);
  await settled();
  expect(account.bound).toBeGreaterThanOrEqual(40 * 3 * weight);
});

test("what the broker before has paid for is paid for still while it is not known whether it is needed", async () => {
  for (const isKnown of [true, false]) {
    const { send, prepaid, client, account } = scene();
    if (!isKnown) Object.defineProperty(client.mailbox!, "waiting", { get: () => undefined });
    const weight = 50_000;
    prepaid.found(weight);
    send(10);
    await settled();
    expect(account.bound >= 40 * (weight + 9 * idSlipWeightOf(sessionPath("c")))).toBe(!isKnown);
  }
});

test("a slip whose message is gone names none, and weighs what is paid for it, whatever the message weighed", async () => {
  for (const settle of ["release", "lapse"] as const) {
    const { context, store } = scene();
    const messagePath = `/topics/${"level/".repeat(30)}=x`;
    const record = {
      ...blankSlip,
      qos: 2,
      state: "sent",
      packetId: 7,
      recipients: 2,
      messagePath,
      branch: "b".repeat(60),
    } as const;
    const slip: Slip = { ...unreadSlip("c", "0000000001"), record: { ...record, subscriptionIds: [1, 2, 3] } };
    const path = `${mailPath("c")}/0000000001`;
    store.put(path, encodeSlip(slip.record!));
    store.put(messagePath);
    store.put(`${messagePath}/left`);
    if (settle === "lapse") context.slips.lapse(slip, 0);
    else {
      const fencingToken = { path: sessionPath("c"), version: 0 };
      context.slips.release(slip, { fencingToken, done: () => {}, refused: () => expect.unreachable() });
    }
    await settled();
    const { data } = store.tree.nodes.get(path)!;
    expect(nodeWeightOf(path, data.length)).toBeLessThanOrEqual(idSlipWeightOf(sessionPath("c")));
    const left = decodeSlip(data);
    expect([left.state, left.packetId, left.qos]).toEqual(["released", 7, 2]);
    // One recipient less is counted where the message is.
    expect(store.tree.nodes.get(`${messagePath}/left`)!.version).toBe(1);
  }
  const path = sessionPath("c");
  const levels = placeWeightOf(path) + 3 * nodeWeightOf(`${path}/in`, 0);
  const recordBytes = 300;
  const ids = heldIdsFreeMax * nodeWeightOf(`${path}/in/65535`, 0);
  expect(sessionWeightOf(path, 0)).toBeGreaterThan(levels + slipsFreeMax * idSlipWeightOf(path) + ids + recordBytes);
});
