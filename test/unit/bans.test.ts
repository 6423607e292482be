/** Guessing passwords, and guessing names: who is banned for how long, and what tells nobody which names there are. */
import { expect, spyOn, test } from "bun:test";
import fc from "fast-check";
import { Access } from "../../src/access/access.ts";
import { Bans, type Contender, networkOf } from "../../src/access/bans.ts";
import { hashForScram, hashPassword } from "../../src/access/hashes.ts";
import { finish } from "../../src/base/slices.ts";
import { scramClient } from "../support/scram-client.ts";

const at = (address: string, username?: string): Contender => ({ address, username });

test("so many failures within a time, and then for as long", () => {
  const bans = new Bans({ failures: 3, ms: 1000 });
  const one = at("1.2.3.4");
  expect([bans.failed(one, 0), bans.failed(one, 1), bans.isBanned(one, 2)]).toEqual([[], [], false]);
  expect(bans.failed(one, 900)).toEqual(["address"]);
  expect([bans.isBanned(one, 1800), bans.isBanned(at("1.2.3.5"), 1800)]).toEqual([true, false]);
  expect([bans.isBanned(at("::ffff:1.2.3.4"), 1800), bans.isBanned(one, 1901)]).toEqual([true, false]);
  bans.failed(at("2001:db8:1:2:3::1"), 0);
  bans.failed(at("2001:db8:1:2::9"), 0);
  expect(bans.failed(at("2001:0db8:0001:0002:ffff::"), 0)).toEqual(["address"]);
  expect(networkOf("::1")).toBe("0:0:0:0::/64");
  expect(networkOf("::FFFF:192.0.2.1")).toBe("192.0.2.1");
  expect([...bans.list(1)]).toEqual([{ kind: "address", name: "2001:db8:1:2::/64", ms: 999 }]);
  expect([bans.lift("address", "2001:db8:1:2::"), bans.isBanned(at("2001:db8:1:2::"), 1)]).toEqual([true, false]);
  bans.failed(at("9.9.9.9"), 0);
  bans.failed(at("9.9.9.9"), 1001);
  expect(bans.failed(at("9.9.9.9"), 1002)).toEqual([]);
});

test("a login that succeeds makes nobody forget the failures before", () => {
  const bans = new Bans({ failures: 20, ms: 60_000 });
  let tries = 0;
  for (let round = 0; round < 4; round++) {
    for (let guess = 0; guess < 18 && !bans.isBanned(at("192.0.2.1", "alice"), tries); guess++)
      bans.failed(at("192.0.2.1", "alice"), tries++);
    bans.succeeded(at("192.0.2.1", "eve"));
  }
  expect([tries, bans.isBanned(at("192.0.2.1", "eve"), tries)]).toEqual([20, true]);
});

test("a user is guessed from many addresses: banned, but for where he has been before; so is a name that is nobody's", () => {
  const bans = new Bans({ failures: 20, ms: 60_000 });
  bans.succeeded(at("203.0.113.1", "alice"));
  for (const name of ["alice", "nobody"])
    for (let guess = 0; guess < 20; guess++) bans.failed(at(`192.0.2.${guess}`, name), 0);
  const is = (address: string, name: string): boolean => bans.isBanned(at(address, name), 1);
  expect([is("198.51.100.1", "alice"), is("198.51.100.1", "nobody"), is("198.51.100.1", "bob")]).toEqual([
    true,
    true,
    false,
  ]);
  expect([is("203.0.113.1", "alice"), is("203.0.113.1", "nobody")]).toEqual([false, true]);
  expect([...bans.list(1)].map(({ kind, name }) => `${kind} ${name}`)).toEqual(["user alice", "user nobody"]);
  expect([bans.lift("user", "alice"), is("198.51.100.1", "alice"), bans.lift("user", "alice")]).toEqual([
    true,
    false,
    false,
  ]);
  // Without a policy nobody is, and of a Unix socket only its users.
  const none = new Bans({ failures: 0, ms: 1000 });
  for (let guess = 0; guess < 30; guess++) none.failed(at("192.0.2.1", "alice"), 0);
  for (let guess = 0; guess < 30; guess++) bans.failed(at("", undefined), 0);
  expect([none.isBanned(at("192.0.2.1", "alice"), 0), bans.isBanned(at("", "carol"), 0)]).toEqual([false, false]);
});

test("whatever is tried, no more than so many wrong guesses of one address within the time go through", () => {
  const step = fc.record({
    wait: fc.nat(400),
    who: fc.constantFrom("alice", "eve", "bob"),
    right: fc.boolean(),
    lifts: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
      const bans = new Bans({ failures: 5, ms: 1000 });
      const failedAt: number[] = [];
      let now = 0;
      for (const { wait, who, right } of steps) {
        now += wait;
        if (bans.isBanned(at("192.0.2.1", who), now)) continue;
        if (right) bans.succeeded(at("192.0.2.1", who));
        else {
          bans.failed(at("192.0.2.1", who), now);
          failedAt.push(now);
        }
      }
      // Windows begin with their first failure: two of them may meet, and no more.
      for (const from of failedAt)
        expect(failedAt.filter((when) => when >= from && when < from + 1000).length).toBeLessThan(10);
    }),
  );
});

const clock = { now: () => 0, wall: () => 0 };
const policy = { allowAnonymous: false, hook: undefined, warn: () => {} };

function accessWith(passwords: string, secret = "s"): Access {
  const access = new Access({ ...policy, decoySecret: () => Buffer.from(secret) }, clock);
  finish(access.load({ passwords }));
  return access;
}

const login = (access: Access, username: string, password: string | undefined): Promise<string> =>
  new Promise((done) =>
    access.authenticate(
      {
        ...{ clientId: "c", username, address: "", certificate: undefined },
        password: password === undefined ? undefined : Buffer.from(password),
      },
      (verdict) => done(verdict.kind === "welcome" ? "welcome" : verdict.why),
    ),
  );

test("a name that is nobody's costs what the names of the file cost", async () => {
  const verify = spyOn(Bun.password, "verify");
  const slowOf = async (access: Access, username: string, password: string | undefined): Promise<number> => {
    const before = verify.mock.calls.length;
    expect(await login(access, username, password)).not.toBe("welcome");
    return verify.mock.calls.length - before;
  };
  try {
    const slow = accessWith(`alice:${await hashPassword("pw")}\n`);
    const fast = accessWith(`alice:${await hashForScram("pw", { iterations: 1, salt: Buffer.from("salt") })}\n`);
    for (const [access, cost] of [
      [slow, 1],
      [fast, 0],
    ] as const) {
      for (const name of ["alice", "nobody", "somebody"]) {
        expect(await slowOf(access, name, "wrong")).toBe(cost);
        expect(await slowOf(access, name, "")).toBe(0);
        expect(await slowOf(access, name, undefined)).toBe(0);
      }
    }
    // Where there are no users at all a hash is checked as well.
    expect(await slowOf(accessWith("\n"), "nobody", "wrong")).toBe(1);
  } finally {
    verify.mockRestore();
  }
});

test("SCRAM: a name that is nobody's has a salt, the same at every broker and start, another in each cluster", async () => {
  const salts = { alice: Buffer.alloc(12, 1), bob: Buffer.alloc(12, 2) };
  const entries = await Promise.all(
    Object.entries(salts).map(
      async ([name, salt]) => `${name}:${await hashForScram("pw", { iterations: 4096, salt })}`,
    ),
  );
  const text = `${entries.join("\n")}\ncarol:${await hashPassword("pw")}\n`;
  const first = (access: Access, name: string): string => {
    const step = access.scram("nonce")!.first(Buffer.from(`n,,n=${name},r=abc`));
    return step.kind === "continue" ? step.data.toString() : step.kind;
  };
  const [one, other, elsewhere] = [accessWith(text), accessWith(text), accessWith(text, "another cluster")];
  for (const name of ["alice", "nobody", "carol"]) {
    expect(first(one, name)).toBe(first(other, name));
    expect(first(one, name)).toMatch(/^r=abcnonce,s=[A-Za-z0-9+/]{16},i=4096$/);
  }
  expect(first(one, "nobody")).not.toBe(first(elsewhere, "nobody"));
  expect(first(one, "nobody")).not.toBe(first(one, "carol"));
  // To its end it goes as for everybody, and it ends in the same words.
  const refusals = ["alice", "nobody"].map((name) => {
    const exchange = one.scram("nonce")!;
    const client = scramClient(name, "wrong");
    const challenge = exchange.first(client.first);
    const step = exchange.final(
      client.final(challenge.kind === "continue" ? Buffer.from(challenge.data) : Buffer.alloc(0)),
    );
    return step.kind === "refused" ? step.why.replace(name, "") : step.kind;
  });
  expect(refusals[0]).toBe(refusals[1]!);
});
