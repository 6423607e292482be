/** The shares of users at one branch, against a naive model; names that records can hold. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Branch, type Reservation } from "../../src/bank/branch.ts";
import { describeShortage, readShortage } from "../../src/bank/shortage.ts";
import { payerOf } from "../../src/mail/paid.ts";

const users = ["", "alice", "bob", null] as const;
const user = fc.constantFrom(...users);
const step = fc.oneof(
  fc.record({ kind: fc.constant("reserve" as const), user, credits: fc.nat(400) }),
  fc.record({ kind: fc.constant("keep" as const), part: fc.nat(200).map((percent) => percent / 100) }),
  fc.record({ kind: fc.constant("found" as const), user, credits: fc.nat(100) }),
  fc.record({ kind: fc.constant("close" as const) }),
  fc.record({ kind: fc.constant("freed" as const), index: fc.nat(20) }),
);

describe("shares", () => {
  test("what each user holds is what he has reserved and stored, and he reserves no more than his share", () => {
    let refused = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: "max" }), fc.integer({ min: 1, max: 99 }), (steps, percent) => {
        const branch = new Branch();
        branch.grant = 1000;
        branch.shares.set({ capital: 2000, vault: 1000, percent, isShared: false });
        const limit = Math.floor(20 * percent);
        const kept = new Map<string, { user: string | null; credits: number }>();
        const open: { reservation: Reservation; user: string | null; left: number }[] = [];
        const heldBy = (of: string | null): number => {
          const stored = [...kept.values()].filter((one) => one.user === of).map(({ credits }) => credits);
          const asides = open.filter((one) => one.user === of).map(({ left }) => left);
          return [...stored, ...asides].reduce((sum, credits) => sum + credits, 0);
        };
        let number = 0;
        for (const doing of steps) {
          if (doing.kind === "reserve") {
            const before = heldBy(doing.user);
            const { free } = branch;
            const reservation = branch.reserve(doing.credits, doing.user);
            if (doing.credits > 0 && doing.user !== null && before + doing.credits > limit)
              expect(reservation).toBeUndefined();
            // Nobody is refused what he may have, but the largest holders in an empty bank.
            const isPoor = free + 1000 - doing.credits < 2000 / 16;
            const isAllowed = doing.user === null || before + doing.credits <= limit;
            if (doing.credits <= free && isAllowed && !isPoor) expect(reservation).toBeDefined();
            if (reservation === undefined) refused++;
            else open.push({ reservation, user: doing.user, left: doing.credits });
          } else if (doing.kind === "keep" && open.length > 0) {
            const last = open.at(-1)!;
            const credits = Math.floor(last.left * doing.part);
            branch.keep(`/topics/t/=${++number}`, { credits, payer: last.user }, last.reservation);
            kept.set(`/topics/t/=${number}`, { user: last.user, credits });
            last.left = Math.max(0, last.left - credits);
          } else if (doing.kind === "found") {
            branch.found(`/topics/t/=${++number}`, { credits: doing.credits, payer: doing.user });
            kept.set(`/topics/t/=${number}`, doing);
          } else if (doing.kind === "close") {
            open.pop()?.reservation.close();
            // Who holds nothing may be forgotten at any time, and begin anew.
            branch.shares.forget();
          } else if (doing.kind === "freed") {
            branch.freed(`/topics/t/=${doing.index}`);
            kept.delete(`/topics/t/=${doing.index}`);
          }
          for (const one of users) if (one !== null) expect(branch.shares.heldBy(one)).toBe(heldBy(one));
        }
        const holding = ["", "alice", "bob"].filter((one) => heldBy(one) > 0);
        expect([...branch.shares.holders()].map(({ user: name }) => name).sort()).toEqual(holding.sort());
        expect(branch.shares.largest()).toBe(Math.max(0, ...holding.map(heldBy)));
        expect(branch.shares.countSpent()).toBe(holding.filter((one) => heldBy(one) >= 0.99 * limit).length);
      }),
    );
    expect(refused).toBeGreaterThan(0);
  });

  test("when the bank is nearly empty, who holds the most is refused first", () => {
    const branch = new Branch();
    branch.grant = 1000;
    branch.shares.set({ capital: 1000, vault: 0, percent: 50, isShared: false });
    branch.found("/topics/a/=1", { credits: 460, payer: "alice" });
    branch.found("/topics/b/=1", { credits: 460, payer: "bob" });
    // 80 are left. Alice and bob have not used up their shares; carol has nothing yet.
    expect([branch.reserve(30, "alice"), branch.reserve(30, "bob")]).toEqual([undefined, undefined]);
    const carol = branch.reserve(50, "carol");
    expect(carol).toBeDefined();
    expect([branch.reserve(20, "carol"), branch.reserve(30, null)?.take(0)]).toEqual([undefined, 0]);
    expect(branch.shares.whyNot(branch.shares.of("alice"), 1, 0)).toBe("scarce");
    expect(branch.shares.whyNot(branch.shares.of("alice"), 41, 1000)).toBe("share");
    // Where one user may have all of it nobody is kept from it.
    branch.shares.set({ capital: 1000, vault: 0, percent: 100, isShared: false });
    carol!.close();
    expect(branch.reserve(50, "alice")).toBeDefined();
  });

  test("where a user may bind all there is, the last sixteenth is for his clients that hold little", () => {
    const branch = new Branch();
    branch.grant = 1000;
    branch.shares.set({ capital: 1000, vault: 0, percent: 100, isShared: false });
    const { shares } = branch;
    let stored = 0;
    for (;;) {
      const payment = branch.reserve(10, "", "hoarder");
      if (payment === undefined) break;
      branch.keep(`/topics/a/=${stored++}`, { credits: 10, payer: "" }, payment);
      payment.close();
    }
    expect([branch.bound, shares.of("", "hoarder").held, shares.heldBy("")]).toEqual([930, 930, 930]);
    const honest = branch.reserve(30, "", "honest")!;
    const more = branch.reserve(11, "", "honest")!;
    expect([branch.reserve(1, "", "honest"), branch.reserve(29, null)?.take(0)]).toEqual([undefined, 0]);
    // In a cluster, too: other brokers are asked before that is the last word.
    shares.set({ capital: 1000, vault: 0, percent: 100, isShared: true });
    expect(shares.whyNot(shares.of("", "hoarder"), 1, 0)).toBe("scarce");
    more.close();
    for (let at = 0; at < stored; at++) branch.freed(`/topics/a/=${at}`);
    honest.close();
    expect([shares.of("", "hoarder").held, shares.heldBy("")]).toEqual([0, 0]);
    expect(branch.reserve(10, "", "hoarder")).toBeDefined();
    // Where users have shares of their own, their clients are not told apart.
    shares.set({ capital: 1000, vault: 0, percent: 25, isShared: false });
    expect(shares.of("alice", "one")).toBe(shares.of("alice"));
    expect(shares.of("", "hoarder")).toBe(shares.of(""));
  });

  test("a refusal says whose share is used up, whatever he is called, and is still understood", () => {
    const name = 'x price 1.0, balance 2.0 credits; try again in 3 s"';
    const share = { user: name, why: "share", percent: 25, held: 250 } as const;
    const shortage = { price: 12.5, balance: 3, retryAfter: 5 };
    const most = 2500;
    const text = describeShortage({ ...shortage, most, share });
    expect(text).toContain(`the share of ${JSON.stringify(name)} is used up (25 % of it, 250.0 credits held)`);
    expect(readShortage(text)).toEqual(shortage);
    expect(readShortage(describeShortage({ ...shortage, most }))).toEqual(shortage);
    expect(describeShortage({ ...shortage, most, share: { ...share, user: "", why: "scarce" } })).toContain(
      "it is nearly empty, and anonymous clients hold more than is left",
    );
    const byClient = describeShortage({ ...shortage, most, share: { ...share, clientId: name, why: "scarce" } });
    expect(byClient).toContain(`it is nearly empty, and client ${JSON.stringify(name)} holds more than is left`);
    expect(readShortage(byClient)).toEqual(shortage);
    const tooDear = describeShortage({ ...shortage, most: 12, share });
    expect(tooDear).toContain(`the whole share of ${JSON.stringify(name)} is 12.0 credits: price 12.5`);
    expect(tooDear).toContain("to try again does not help");
    expect(readShortage(tooDear)).toEqual({ ...shortage, retryAfter: undefined });
  });

  test("names stay as they are, but long ones and what text cannot hold", () => {
    expect([payerOf(""), payerOf("alice"), payerOf("ä".repeat(64))]).toEqual(["", "alice", "ä".repeat(64)]);
    const [one, other] = [`${"n".repeat(100)}1`, `${"n".repeat(100)}2`].map(payerOf);
    expect(one).not.toBe(other);
    expect([one!.length <= 64, other!.length <= 64]).toEqual([true, true]);
    expect([payerOf("a\0b"), payerOf("\ud800")]).toEqual(["a\ufffdb", "\ufffd"]);
    const wide = payerOf("🦓".repeat(40));
    expect([wide.length <= 64, wide.isWellFormed()]).toEqual([true, true]);
  });
});
