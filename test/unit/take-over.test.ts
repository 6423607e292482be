/**
 * How long a client that connects waits for brokers that do not answer, which of them may still hold its will, and
 * whose client id it is.
 */
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
    takeOver.claim(
      { clientId: "client", clean: false, persistent, user: "" },
      (_, { silent }) => void decided.push([...silent()]),
    );
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
  const claimed = { clientId: "client", clean: false, persistent: true, user: "" };
  let whoIsSilent: SilentBrokers = () => ["nobody has decided"];
  takeOver.claim(claimed, (_, { silent }) => {
    whoIsSilent = silent;
  });
  for (const peer of [...peers])
    takeOver.answered(peer as unknown as Peer, { say: "claimed", number: 1, granted: true });
  expect(whoIsSilent()).toEqual([]);
  peers.push({ id: "d", isLinked: false });
  expect(whoIsSilent()).toEqual(["d"]);
});

test("so may one that has granted it with the word that it cannot remove the will", () => {
  const { decided, claim, peers, takeOver } = scene();
  claim(true);
  for (const peer of peers) {
    const willRemains = peer.id === "c" || undefined;
    takeOver.answered(peer as unknown as Peer, { say: "claimed", number: 1, granted: true, willRemains });
  }
  expect(decided).toEqual([["c"]]);
});

test("so may one that joins where there was nobody to be asked", () => {
  const { peers, takeOver } = scene();
  const [first] = peers.splice(0);
  let whoIsSilent: SilentBrokers = () => ["nobody has decided"];
  takeOver.claim({ clientId: "client", clean: false, persistent: false, user: "" }, (_, { silent }) => {
    whoIsSilent = silent;
  });
  expect(whoIsSilent()).toEqual([]);
  peers.push(first!);
  expect(whoIsSilent()).toEqual(["b"]);
});

/** A broker that another one asks, with one session here: what it answers, and what it has given up. */
function asked(user: string, claimedAt = 0, hasWill = false) {
  const timers = new Timers();
  const peer = { id: "b", isLinked: true, link: {} };
  const answers: object[] = [];
  const givenUp: string[] = [];
  const cameBack: string[] = [];
  /** Called while the session is being given up. */
  const givingUp = { callback: (): unknown => undefined };
  const context = {
    options: { ...defaultOptions, id: "a" },
    clock: { now: () => 1000, wall: () => 1000 },
    timers,
    self: { fences: 0 },
    localSessions: new Map([["client", { user, claimedAt }]]),
    journal: { commit: (_: unknown, done: () => void) => done() },
  };
  const parts = {
    membership: { members: () => [peer] },
    links: { sendControl: (_: Peer, control: object) => void answers.push(control) },
    orphanedWills: {
      cameBack(clientId: string) {
        cameBack.push(clientId);
        return [];
      },
    },
    wills: { whenPublished: (_: string, go: () => void) => go(), mayRemain: () => hasWill },
    whenConnected: (_: string, go: () => void) => go(),
    handover: {
      giveUp(clientId: string, { done }: { done: () => void }) {
        givenUp.push(clientId);
        givingUp.callback();
        done();
      },
    },
  };
  const takeOver = new TakeOver(context as unknown as ClusterContext, parts as unknown as TakeOverParts);
  const receive = (user: string | undefined, stamp = 1, maybeLate?: true): void =>
    takeOver.receive(peer as unknown as Peer, {
      say: "claim",
      number: 7,
      clientId: "client",
      stamp,
      clean: true,
      user,
      maybeLate,
    });
  return { answers, cameBack, context, givenUp, givingUp, peer, receive, takeOver };
}

test("a client id is granted with a word on a will that cannot be removed for want of contact", () => {
  const { answers, givenUp, receive } = asked("", 0, true);
  receive("");
  expect(givenUp).toEqual(["client"]);
  expect(answers).toMatchObject([{ granted: true, willRemains: true }]);
});

test("a session is not given up to another user's client, but to its own user's, and nobody's to anybody's", () => {
  for (const [owner, user, isGranted] of [
    ["alice", "alice", true],
    ["alice", "eve", false],
    ["alice", "", false],
    ["", "eve", true],
    // A broker that does not say who its client is.
    ["alice", undefined, true],
  ] as const) {
    const { answers, cameBack, givenUp, receive } = asked(owner);
    receive(user);
    expect(answers).toEqual([
      { say: "claimed", number: 7, granted: isGranted, isAnothers: isGranted ? undefined : true },
    ]);
    // Nor is a will withdrawn for a client that is another user's.
    expect([givenUp, cameBack]).toEqual(isGranted ? [["client"], ["client"]] : [[], []]);
  }
});

test("of two claims at once the later goes before if they are one user's, else the earlier", () => {
  for (const [user, stamp, isGranted] of [
    ["alice", 2000, true],
    ["alice", 500, false],
    ["eve", 2000, false],
    ["eve", 500, true],
  ] as const) {
    const { answers, context, receive, takeOver } = asked("");
    context.localSessions.clear();
    const outcomes: string[] = [];
    const claimed = { clientId: "client", clean: true, persistent: false, user: "alice" };
    takeOver.claim(claimed, (outcome) => void outcomes.push(outcome));
    receive(user, stamp);
    const refusal = user === "alice" ? "elsewhere" : "anothers";
    expect(outcomes).toEqual(isGranted ? [refusal] : []);
    expect(answers.at(-1)).toMatchObject({
      granted: isGranted,
      isAnothers: !isGranted && user === "eve" ? true : undefined,
    });
  }
});

test("a client is told that a session is another user's when another broker says so", () => {
  const { peer, takeOver } = asked("");
  const outcomes: string[] = [];
  const claimed = { clientId: "other", clean: true, persistent: false, user: "eve" };
  for (const isAnothers of [true, undefined] as const) {
    takeOver.claim(claimed, (outcome) => void outcomes.push(outcome));
    const number = outcomes.length + 1;
    takeOver.answered(peer as unknown as Peer, { say: "claimed", number, granted: false, isAnothers });
  }
  expect(outcomes).toEqual(["anothers", "elsewhere"]);
});

test("a claim that arrives late does not take the session of a client that has come here since", () => {
  for (const [claimedAt, maybeLate, isGranted] of [
    [500, true, true],
    [2000, true, false],
    // A broker that cannot be told.
    [2000, undefined, true],
  ] as const) {
    const { answers, cameBack, givenUp, receive } = asked("alice", claimedAt);
    receive("alice", 1000, maybeLate);
    expect(answers).toEqual([
      isGranted
        ? { say: "claimed", number: 7, granted: true, isAnothers: undefined }
        : { say: "claimed", number: 7, granted: false, newest: claimedAt },
    ]);
    expect([givenUp.length, cameBack.length]).toEqual(isGranted ? [1, 1] : [0, 0]);
  }
});

test("nor does one whose client comes here by a later claim while the session is being given up", () => {
  const { answers, context, givingUp, receive } = asked("alice", 500);
  givingUp.callback = () => context.localSessions.set("client", { user: "alice", claimedAt: 2000 });
  receive("alice", 1000, true);
  expect(answers).toEqual([{ say: "claimed", number: 7, granted: false, newest: 2000 }]);
});

test("a client that still waits is claimed by a newer stamp than it has elsewhere, and one that does not is not", () => {
  const { peer, takeOver, answers } = asked("");
  const claimed = { clientId: "other", clean: true, persistent: false, user: "" };
  let stamp = 0;
  takeOver.claim(claimed, (_, grant) => {
    stamp = grant.stamp;
  });
  const answered = (granted: boolean, newest?: number): void =>
    takeOver.answered(peer as unknown as Peer, { say: "claimed", number: 1, granted, newest });
  answered(false, 5_000_000);
  expect(answers.at(-1)).toMatchObject({ say: "claim", number: 1, clientId: "other", stamp: 5_000_001 });
  answered(true);
  expect([stamp, answers.length]).toEqual([5_000_001, 2]);
  answered(false, 6_000_000);
  expect(answers.length).toBe(2);
});
