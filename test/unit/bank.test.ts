/** The bank against a naive model: prices, accounts that several branches change at once, and what the audit finds. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { audit, type WeighedSnapshot } from "../../src/audit/audit.ts";
import { takeWeighed } from "../../src/audit/snapshot.ts";
import { capitalMax, encodeGrant, encodeVault } from "../../src/bank/account-records.ts";
import { Accounts, type Bound, type CapitalChange, type Standing } from "../../src/bank/accounts.ts";
import { drawTtl, type Keeping, priceOf, type TtlPolicy } from "../../src/bank/price.ts";
import { type Repair, repairAccounts } from "../../src/bank/repair.ts";
import { VaultAnswers } from "../../src/broker/core/vault-answers.ts";
import type { KeeperClient } from "../simulation/keeper.ts";
import { World } from "../simulation/world.ts";

const pricing = { ttlMinMs: 30_000, ttlMaxMs: 86_400_000, ttl: "random" } as const;

test("the price: .04 credits a byte, and up to 100 for the time", () => {
  expect(priceOf(256, 30_000, pricing)).toBe(10_240);
  expect(priceOf(256, 86_400_000, pricing)).toBe(110_240);
  // Less than the least, and more than the most, cost as much as those.
  expect(priceOf(0, 1000, pricing)).toBe(0);
  expect(priceOf(0, 1e12, pricing)).toBe(100_000);
});

test("the time to live: by chance where the policy says so, else the longest", () => {
  const drawn = (ttl: TtlPolicy, keeping: Keeping): number[] =>
    [0, 0.5, 1].map((chance) => drawTtl({ ...pricing, ttl }, keeping, chance));
  const byChance = [30_000, 43_215_000, 86_400_000];
  const longest = [86_400_000, 86_400_000, 86_400_000];
  expect([drawn("random", "mailbox"), drawn("random", "drop")]).toEqual([byChance, byChance]);
  expect([drawn("drops", "mailbox"), drawn("drops", "drop")]).toEqual([longest, byChance]);
  expect([drawn("max", "mailbox"), drawn("max", "drop")]).toEqual([longest, longest]);
});

const boundOf = (credits: number): Bound => ({ credits, users: new Map() });

describe("accounts", () => {
  test("vault and grants are the capital, whatever several branches do at once, and whoever is closed", async () => {
    for (let seed = 1; seed <= 30; seed++) {
      const world = new World(seed);
      const ids = ["a", "b", "c"];
      const branches = ids.map((id) => ({ id, client: world.keeper.connect() }));
      const accounts = new Map(branches.map(({ id, client }) => [id, new Accounts(client)]));
      for (const own of accounts.values()) own.found(100_000, () => {});
      await world.pass(50);
      for (const [id, own] of accounts) own.open(id, () => {});
      await world.pass(50);
      const act = (): void => {
        const id = ids[Math.floor(world.random.next() * 3)]!;
        const own = accounts.get(id)!;
        const amount = Math.floor((world.random.next() - 0.3) * 60_000);
        const chance = world.random.next();
        if (chance < 0.6) own.move(id, amount, () => {});
        else if (chance < 0.75)
          own.close(ids[Math.floor(world.random.next() * 3)]!, boundOf(Math.abs(amount)), [], () => {});
        else if (chance < 0.85) own.open(id, () => {});
        else if (chance < 0.95) {
          const bound = Math.floor(world.random.next() * 10_000);
          own.settleEstate(
            id,
            () => boundOf(bound),
            () => {},
          );
        } else own.changeCapital(amount, { asFarAs: "possible" }, () => {});
        if (world.now() < 1600) world.after(world.random.next() * 2, act);
      };
      act();
      let looks = 0;
      const look = async (): Promise<void> => {
        const read = world.keeper.tree.read.bind(world.keeper.tree);
        const store = {
          read: (ops: Parameters<typeof read>[0][], done: (e: undefined, r: ReturnType<typeof read>[]) => void) =>
            done(undefined, ops.map(read)),
        };
        const snapshot = (await takeWeighed(store as never, 0))!;
        expect(audit(snapshot, { graceMs: 0 })).toEqual([]);
        looks++;
      };
      for (let round = 0; round < 20; round++) {
        await world.pass(50);
        await look();
      }
      expect(looks).toBe(20);
    }
  });
});

test("an estate holds what is bound, as far as the vault has it, and nothing beside an open branch", async () => {
  const world = new World(1);
  const accounts = new Accounts(world.keeper.connect());
  const amounts = (): unknown[] =>
    ["/bank", "/bank/branches/=gone"].map((path) => {
      const { vault, grant } = JSON.parse(String(Buffer.from(world.tree.nodes.get(path)?.data ?? "{}")));
      return vault ?? grant;
    });
  const settle = async (bound: Bound | undefined): Promise<unknown[]> => {
    let isDone = false;
    accounts.settleEstate(
      "gone",
      () => bound,
      () => {
        isDone = true;
      },
    );
    expect(await world.pass(500, () => isDone)).toBe(true);
    return amounts();
  };
  accounts.found(1000, () => {});
  await world.pass(50);
  expect(await settle(boundOf(0))).toEqual([1000, undefined]);
  expect(await settle(boundOf(300))).toEqual([700, 300]);
  expect(await settle(boundOf(900))).toEqual([100, 900]);
  expect(await settle(undefined)).toEqual([100, 900]);
  expect(await settle(boundOf(2000))).toEqual([0, 1000]);
  expect(await settle(boundOf(2000))).toEqual([0, 1000]);
  expect(await settle(boundOf(400))).toEqual([600, 400]);
  accounts.open("gone", () => {});
  await world.pass(50);
  expect(await settle(boundOf(700))).toEqual([600, undefined]);
  // It was made while the branch was opened.
  accounts.close("gone", boundOf(400), [], () => {});
  await world.pass(50);
  const { nodes } = world.keeper.tree;
  nodes.set("/bank/branches/gone", { ...nodes.get("/bank/branches/=gone")!, data: encodeGrant({ grant: 0 }) });
  expect(await settle(boundOf(700))).toEqual([1000, undefined]);
});

describe("damaged accounts", () => {
  const garbage = [
    "",
    "{}",
    "null",
    "no JSON",
    '"5"',
    "\xff",
    '{"grant":null}',
    '{"grant":-1}',
    '{"grant":1.5}',
    '{"grant":1e300}',
  ];

  async function bankOf(): Promise<{
    world: World;
    client: KeeperClient;
    accounts: Accounts;
    at: (path: string) => string;
  }> {
    const world = new World(1);
    const client = world.keeper.connect();
    const accounts = new Accounts(client);
    accounts.found(100_000, () => {});
    for (const id of ["a", "b", "gone"]) accounts.open(id, () => {});
    await world.pass(50);
    for (const id of ["a", "gone"]) accounts.move(id, 10_000, () => {});
    await world.pass(50);
    accounts.close("gone", boundOf(4000), [], () => {});
    await world.pass(50);
    return {
      world,
      client,
      accounts,
      at: (path) => Buffer.from(world.keeper.tree.nodes.get(path)!.data).toString("latin1"),
    };
  }

  function spoil(world: World, path: string, text: string): void {
    const node = world.keeper.tree.nodes.get(path)!;
    world.keeper.tree.nodes.set(path, { ...node, data: Buffer.from(text, "latin1") });
  }

  async function auditOf(client: KeeperClient, world: World): Promise<string[]> {
    let found: string[] | undefined;
    void takeWeighed(client, 0).then((snapshot) => {
      found = audit(snapshot!, { graceMs: 0 });
    });
    await world.pass(500, () => found !== undefined);
    return found!;
  }

  test.each(["/bank", "/bank/branches/a", "/bank/branches/=gone"])(
    "%s: nothing is reckoned from it, and it is mended",
    async (path) => {
      for (const text of garbage) {
        const { world, client, accounts, at } = await bankOf();
        const bank = path === "/bank";
        const spoiled = bank ? text.replace("grant", "vault") : text;
        spoil(world, path, spoiled);
        const before = new Map(
          [...world.keeper.tree.nodes.keys()]
            .filter((name) => name.startsWith("/bank/"))
            .map((name) => [name, at(name)]),
        );
        const told: Standing[] = [];
        const note = (standing: Standing | undefined): unknown => standing !== undefined && told.push(standing);
        for (const credits of [5000, -5000]) accounts.move("a", credits, note);
        accounts.open("a", note);
        accounts.look("a", note);
        accounts.reportRefused("a", 3);
        accounts.close("a", boundOf(0), [], () => {});
        accounts.settleEstate(
          "gone",
          () => boundOf(0),
          () => {},
        );
        await world.pass(200);
        expect(told.length).toBe(4);
        for (const { grant, vault, capital } of told)
          expect([grant, vault, capital].every(Number.isSafeInteger)).toBe(true);
        expect(at(path)).toBe(spoiled);
        if (bank)
          expect([before.get("/bank/branches/=gone"), at("/bank/branches/a")]).toEqual([
            at("/bank/branches/=gone"),
            '{"grant":10000,"refused":3}',
          ]);
        expect((await auditOf(client, world)).join()).toContain(`${path} holds no amounts, but`);
        expect((await auditOf(client, world)).join()).toContain('"mqttzoo bank repair" mends it');
        const repair = async (capital: number | undefined): Promise<Repair> => {
          const { promise, resolve } = Promise.withResolvers<Repair>();
          repairAccounts(
            client,
            {
              bound: new Map([
                ["a", 2000],
                ["gone", 4000],
              ]),
              capital,
            },
            resolve,
          );
          await world.pass(200);
          return promise;
        };
        if (bank)
          expect(await repair(undefined)).toEqual({
            refused: "nobody knows the capital any more: give it with --capital CREDITS",
          });
        if (bank)
          expect(await repair(9000)).toEqual({ refused: expect.stringContaining("--capital must not be less") });
        expect(await repair(bank ? 100_000 : undefined)).toHaveProperty("mended");
        expect(await auditOf(client, world)).toEqual([]);
        expect(await repair(undefined)).toEqual({ mended: new Map() });
      }
    },
  );

  test("the capital is changed by whole numbers, within bounds, and lowered by no more than the vault holds", async () => {
    const { world, client, accounts, at } = await bankOf();
    const change = async (credits: number, how: { asFarAs?: "possible" } = {}): Promise<CapitalChange> => {
      const { promise, resolve } = Promise.withResolvers<CapitalChange>();
      accounts.changeCapital(credits, how, resolve);
      await world.pass(50);
      return promise;
    };
    const before = at("/bank");
    for (const credits of [Number.NaN, Infinity, 1.5, 2 ** 60, -86_001, capitalMax])
      expect(await change(credits)).toHaveProperty("refused");
    expect(at("/bank")).toBe(before);
    expect(await change(-86_001, { asFarAs: "possible" })).toEqual({ changed: -86_000, capital: 14_000 });
    expect(await change(500)).toEqual({ changed: 500, capital: 14_500 });
    expect(await auditOf(client, world)).toEqual([]);
    expect(() => encodeVault({ capital: Number.NaN, vault: 0 })).toThrow("no amounts");
    expect(() => encodeGrant({ grant: -1 })).toThrow("no amount");
  });
});

test("the audit finds what is wrong, and names it", () => {
  const message = {
    path: "/topics/x/=1",
    version: 0,
    branch: "a",
    payer: "",
    credits: 60,
    bytes: 10,
    expiresAt: 5000,
    isRetained: false,
    parts: undefined,
  };
  const fine: WeighedSnapshot = {
    damaged: new Map(),
    strangers: new Map(),
    capital: 100,
    vault: 40,
    grants: new Map([["a", 60]]),
    refused: new Map(),
    messages: [message],
    places: [],
    weight: 0,
    slips: [{ path: "/sessions/00/c/mail/1", messagePath: "/topics/x/=1", isReleased: false, recipients: 1 }],
    takenAt: 4000,
  };
  const found = (changes: Partial<WeighedSnapshot>): string =>
    audit({ ...fine, ...changes }, { graceMs: 1000 }).join("; ");
  expect(found({})).toBe("");
  expect(found({ vault: 41 })).toBe('vault 41 + grants 60 is not the capital 100: "mqttzoo bank repair" mends it');
  expect(found({ weight: 17_000_000 })).toMatch(/^the store holds 17000000 bytes for clients/);
  expect(found({ vault: -1, capital: 59 })).toContain("the vault is overdrawn");
  expect(found({ messages: [message, { ...message, path: "/topics/x/=2", credits: 1 }] })).toContain(
    "branch a is overdrawn: 61 of 60 are bound",
  );
  expect(found({ messages: [{ ...message, branch: "z" }] })).toContain(
    "what z pays for binds 60, and it has no branch",
  );
  expect(found({ takenAt: 7001 })).toContain("has outlived its time by 2 s");
  expect(found({ messages: [] })).toContain("names /topics/x/=1, which is not there");
});

test("the vault's answers count for whoever asked for as much, or less, and not before", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 50 }),
      fc.nat(60),
      fc.nat(25),
      (asked, at, price) => {
        const answers = new VaultAnswers();
        for (const [askedAt, credits] of asked.entries()) answers.answered(askedAt, credits);
        expect(answers.has(at, price)).toBe(asked.some((credits, askedAt) => askedAt >= at && credits >= price));
      },
    ),
  );
});
