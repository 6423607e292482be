/** Claims on users' shares: several branches claim, give up, close and open at once, on a simulated ZooKeeper. */
import { expect, test } from "bun:test";
import { decodeGrant, encodeGrant } from "../../src/bank/account-records.ts";
import { Accounts, type Standing } from "../../src/bank/accounts.ts";
import { type Claims, claim, type Wanted } from "../../src/bank/claims.ts";
import { Shares } from "../../src/bank/shares.ts";
import { bankHopeMs } from "../../src/base/bank-limits.ts";
import { systemClock } from "../../src/base/clock.ts";
import type { BankAccount } from "../../src/broker/core/bank-account.ts";
import { type CreditWait, isLastWord } from "../../src/broker/core/credit-wait.ts";
import { branchesPath } from "../../src/coordinator/paths.ts";
import type { Price } from "../../src/mail/ledger.ts";
import { World } from "../simulation/world.ts";

const limit = 40_000;
const spare = 500;

function open(seed: number) {
  const world = new World(seed);
  const ids = ["a", "b", "c"];
  const branches = new Map(ids.map((id) => [id, world.keeper.connect()]));
  const accounts = new Map([...branches].map(([id, client]) => [id, new Accounts(client)]));
  const claimFor = (id: string, wanted: Record<string, Wanted>, done: (claims: Claims | undefined) => void): void =>
    claim(branches.get(id)!, { id, limit, spareOf: () => spare, wanted: new Map(Object.entries(wanted)) }, done);
  /** Returns what all branches, and what is left of closed ones, claim for a user. */
  const claimsOn = (user: string): number[] => {
    const { tree } = world.keeper;
    const listed = tree.read({ kind: "children", path: branchesPath });
    const names = typeof listed === "object" && "children" in listed ? listed.children : [];
    return names.map((name) => {
      const node = tree.read({ kind: "get", path: `${branchesPath}/${name}` });
      const record = typeof node === "object" && "data" in node ? decodeGrant(node.data) : undefined;
      return record?.users?.get(user) ?? 0;
    });
  };
  const begin = async (): Promise<void> => {
    for (const own of accounts.values()) own.found(100_000, () => {});
    await world.pass(50);
    for (const [id, own] of accounts) own.open(id, () => {});
    await world.pass(50);
  };
  return { world, ids, accounts, claimFor, claimsOn, begin };
}

const sum = (all: readonly number[]): number => all.reduce((total, one) => total + one, 0);

test("all branches together claim no more than the share, whatever they do at once", async () => {
  let most = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const { world, ids, accounts, claimFor, claimsOn, begin } = open(seed);
    await begin();
    const users = ["alice", "bob", "__proto__"];
    const act = (): void => {
      const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(world.random.next() * items.length)]!;
      const id = pick(ids);
      const chance = world.random.next();
      const amount = Math.floor(world.random.next() * 45_000);
      const bound = { credits: amount, users: new Map(users.map((user) => [user, amount / 8])) };
      if (chance < 0.6) claimFor(id, Object.fromEntries([[pick(users), { claim: amount, held: 0 }]]), () => {});
      else if (chance < 0.75) accounts.get(id)!.move(id, amount - 20_000, () => {});
      else if (chance < 0.8) accounts.get(pick(ids))!.close(id, bound, [], () => {});
      else if (chance < 0.85)
        accounts.get(pick(ids))!.settleEstate(
          id,
          () => bound,
          () => {},
        );
      else if (chance < 0.9) accounts.get(id)!.reportRefused(id, amount);
      else accounts.get(id)!.open(id, () => {});
      if (world.now() < 1600) world.after(world.random.next() * 2, act);
    };
    act();
    for (let round = 0; round < 200; round++) {
      await world.pass(8);
      for (const user of users) {
        most = Math.max(most, sum(claimsOn(user)));
        expect(sum(claimsOn(user))).toBeLessThanOrEqual(limit);
      }
    }
  }
  // It is no small matter: now and then nearly all of a share is claimed.
  expect(most).toBeGreaterThan(0.9 * limit);
});

test("of two that want all at once one gets it, but for what others may have; what is held is granted", async () => {
  const { world, accounts, claimFor, claimsOn, begin } = open(3);
  await begin();
  const told: (Claims | undefined)[] = [];
  let owner = "";
  for (const id of ["a", "b"])
    claimFor(id, { alice: { claim: limit, held: 0 } }, (claims) => {
      told.push(claims);
      if (claims?.users.has("alice")) owner = id;
    });
  await world.pass(100);
  expect(told.map((claims) => claims?.users.get("alice") ?? 0).sort((x, y) => x - y)).toEqual([0, limit - 2 * spare]);
  expect(told[0]!.branches).toBe(3);
  // Moving credits and counting refusals leave claims alone, closing and opening what is still bound.
  const own = accounts.get(owner)!;
  own.move(owner, 5000, () => {});
  await world.pass(50);
  own.reportRefused(owner, 7);
  await world.pass(50);
  expect(sum(claimsOn("alice"))).toBe(limit - 2 * spare);
  own.close(owner, { credits: 2000, users: new Map([["alice", 1500]]) }, [], () => {});
  await world.pass(50);
  expect(sum(claimsOn("alice"))).toBe(1500);
  let opened: Standing | undefined;
  own.open(owner, (standing) => {
    opened = standing;
  });
  await world.pass(50);
  expect([sum(claimsOn("alice")), opened?.users.get("alice")]).toEqual([1500, 1500]);
  // What is bound already is claimed whatever others have; and nobody else gets any more.
  claimFor("c", { alice: { claim: 39_000, held: 39_000 } }, () => {});
  await world.pass(50);
  claimFor(owner, { alice: { claim: 3000, held: 0 } }, (claims) => told.push(claims));
  await world.pass(50);
  // What it has it keeps.
  expect([told.at(-1)?.users.get("alice"), sum(claimsOn("alice"))]).toEqual([1500, 40_500]);
  // Nobody can claim who has no branch.
  const terms = { id: "nobody", limit, spareOf: () => spare, wanted: new Map() };
  claim(world.keeper.connect(), terms, (claims) => told.push(claims));
  await world.pass(50);
  expect(told.at(-1)).toBeUndefined();
});

test("a branch binds without a claim what it may spare, beyond it what it has claimed, and never beyond the share", () => {
  const shares = new Shares();
  shares.set({ capital: 64_000, vault: 64_000, percent: 50, isShared: true });
  const whyNot = (credits: number) => shares.whyNot(shares.of("alice"), credits, 0);
  expect([shares.limit, shares.spareOf(3), shares.spareOf(1000)]).toEqual([32_000, 500, 32]);
  expect([whyNot(500), whyNot(501), whyNot(32_001)]).toEqual([undefined, "unclaimed", "share"]);
  expect([shares.claimFor("alice", 100, "reserve"), shares.claimFor("alice", 501, "reserve")]).toEqual([100, 2501]);
  shares.madeClaims({ users: new Map([["alice", 2501]]), branches: 3, elsewhere: new Map() });
  expect([whyNot(2501), whyNot(2502)]).toEqual([undefined, "unclaimed"]);
  const alice = shares.of("alice");
  shares.add(alice, 2000);
  expect([shares.hasRoom("alice", 501), shares.hasRoom("alice", 502), shares.areClaimsUnfit()]).toEqual([
    ...[true, false, true],
  ]);
  // What is about to be given up is not spent.
  shares.lower(new Map([["alice", 2100]]));
  expect([whyNot(100), whyNot(101), shares.claimFor("alice", 0, "used")]).toEqual([undefined, "unclaimed", 2000]);
  shares.madeClaims({ users: new Map([["alice", 30_000]]), branches: 3, elsewhere: new Map() });
  expect(shares.areClaimsUnfit()).toBe(true);
  shares.add(alice, -2000);
  shares.madeClaims({ users: new Map(), branches: 3, elsewhere: new Map() });
  expect(shares.areClaimsUnfit()).toBe(false);
});

test("claims that are no amounts are left out, and brokers that know of none read the grant", () => {
  const users = new Map([
    ["alice", 5],
    ["__proto__", 6],
  ]);
  expect(decodeGrant(encodeGrant({ grant: 7, refused: 1, users }))).toEqual({ grant: 7, refused: 1, users });
  const bent = Buffer.from('{"grant":7,"users":{"alice":-1,"bob":"2","carol":3}}');
  expect(decodeGrant(bent)?.users).toEqual(new Map([["carol", 3]]));
  for (const odd of ["null", "5", '"x"']) expect(decodeGrant(Buffer.from(`{"grant":7,"users":${odd}}`))?.grant).toBe(7);
});

test("that a share is not claimed is the last word when others were asked, and then had their time to give some up", () => {
  let answered = -1;
  const claims = { hasAnswered: (since: number) => answered >= since };
  const bankAccount = { whyNotHeld: () => "unclaimed", claims } as unknown as BankAccount;
  const clock = { ...systemClock, now: () => 1000 };
  const wait: CreditWait = { since: 500, hopeUntil: undefined };
  const price = { credits: 1, payer: "alice" } as unknown as Price;
  const said = [499, 500, 1000 + bankHopeMs - 1, 1000 + bankHopeMs].map((at) => {
    answered = at;
    return isLastWord({ bankAccount, clock }, price, wait);
  });
  expect(said).toEqual([false, false, false, true]);
});
