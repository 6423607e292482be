/** How long a client that connects waits for brokers that do not answer, and which of them may still hold its will. */
import { expect, test } from "bun:test";
import { claimPatienceMs, claimUnlinkedMs, fencePatienceMs } from "../../src/base/limits.ts";
import { Timers } from "../../src/base/timers.ts";
import { type SilentBrokers, TakeOver, type TakeOverParts } from "../../src/broker/connect/take-over.ts";
import { defaultOptions } from "../../src/broker/core/options.ts";
import type { ClusterContext } from "../../src/broker/peers/cluster-context.ts";
import type { Peer } from "../../src/broker/peers/peer.ts";

/** Two other brokers, which are asked and never answer. */
function scene() {
  let now = 1000;
  const timers = new Timers();
  const peers = ["b", "c"].map((id) => ({ id, isLinked: true }) as { id: string; isLinked: boolean });
  const asked: string[] = [];
  const context = { options: defaultOptions, clock: { now: () => now, wall: () => now }, timers };
  const parts = {
    membership: { members: () => peers },
    links: { sendControl: ({ id }: Peer) => void asked.push(id) },
  };
  const takeOver = new TakeOver(context as unknown as ClusterContext, parts as unknown as TakeOverParts);
  const decided: string[][] = [];
  const claim = (persistent: boolean): void =>
    takeOver.claim({ clientId: "client", clean: false, persistent }, (_, silent) => void decided.push([...silent()]));
  const pass = (ms: number): void => {
    now += ms;
    timers.tick(now);
  };
  const linkDown = (at: number): void => {
    peers[at]!.isLinked = false;
    takeOver.linkDown(peers[at] as unknown as Peer);
  };
  return { asked, claim, decided, linkDown, pass, peers, takeOver };
}

test("a client whose session lasts waits until a slow broker answers, or its keeper session must have ended", () => {
  const { asked, claim, decided, pass } = scene();
  claim(true);
  expect(asked).toEqual(["b", "c"]);
  pass(defaultOptions.zkSessionTimeout * 1000 + fencePatienceMs - 1);
  expect(decided).toEqual([]);
  pass(1);
  expect(decided).toEqual([["b", "c"]]);
});

test("a client whose session ends with its connection does not wait for long", () => {
  const { claim, decided, pass } = scene();
  claim(false);
  pass(claimPatienceMs - 1);
  expect(decided).toEqual([]);
  pass(1);
  expect(decided).toEqual([["b", "c"]]);
});

test("nobody waits long for brokers that are not reached any more", () => {
  const { claim, decided, linkDown, pass } = scene();
  claim(true);
  pass(100);
  linkDown(0);
  pass(claimUnlinkedMs);
  expect(decided).toEqual([]);
  linkDown(1);
  pass(claimUnlinkedMs - 1);
  expect(decided).toEqual([]);
  pass(1);
  expect(decided).toEqual([["b", "c"]]);
});

test("a broker that joins while a client is being let in may hold an earlier will of it, one that has granted does not", () => {
  const { peers, takeOver } = scene();
  const claimed = { clientId: "client", clean: false, persistent: true };
  let whoIsSilent: SilentBrokers = () => ["nobody has decided"];
  takeOver.claim(claimed, (_, silent) => {
    whoIsSilent = silent;
  });
  for (const peer of [...peers])
    takeOver.answered(peer as unknown as Peer, { say: "claimed", number: 1, granted: true });
  expect(whoIsSilent()).toEqual([]);
  peers.push({ id: "d", isLinked: false });
  expect(whoIsSilent()).toEqual(["d"]);
});

test("so may one that joins where there was nobody to be asked", () => {
  const { peers, takeOver } = scene();
  const [first] = peers.splice(0);
  let whoIsSilent: SilentBrokers = () => ["nobody has decided"];
  takeOver.claim({ clientId: "client", clean: false, persistent: false }, (_, silent) => {
    whoIsSilent = silent;
  });
  expect(whoIsSilent()).toEqual([]);
  peers.push(first!);
  expect(whoIsSilent()).toEqual(["b"]);
});
