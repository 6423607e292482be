/** Logins and the access list, against naive models, published vectors, and files that mosquitto has written. */
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { Access } from "../../src/access/access.ts";
import { Acl, permissionsFrom } from "../../src/access/acl.ts";
import { hashForScram, hashPassword, isPasswordOf } from "../../src/access/hashes.ts";
import { Hook } from "../../src/access/hook.ts";
import { parsePasswordFile, readPasswordFile, withUser } from "../../src/access/password-file.ts";
import { covers, describeRule } from "../../src/access/permissions.ts";
import { RuleList, Says } from "../../src/access/rule-list.ts";
import { commonShape, ScramExchange } from "../../src/access/scram.ts";
import { linesPerStepMax } from "../../src/base/access-limits.ts";
import { Bucket } from "../../src/base/bucket.ts";
import { finish } from "../../src/base/slices.ts";
import { filterMatches } from "../../src/mqtt/topic.ts";

const now = 1_800_000_000_000;
const clock = { now: () => now, wall: () => now };

test("an access list reads as mosquitto reads it", () => {
  const acl = finish(
    Acl.read(`
# for everybody without a name
topic read public/#
user alice
topic home/+/temp
topic write home/log
topic deny home/secret/temp
user bob
topic read name with spaces/#
pattern readwrite own/%u/%c/#
pattern write log/%c
`),
  );
  const of = (username: string | undefined, clientId = "c1") => acl.permissionsOf({ username, clientId });
  expect(of(undefined).mayReceive("public/a")).toBe(true);
  expect(of(undefined).mayPublish("public/a")).toBe(false);
  expect(of("alice").mayReceive("public/a")).toBe(false);
  expect(of("alice").mayPublish("home/x/temp")).toBe(true);
  expect(of("alice").mayReceive("home/x/temp")).toBe(true);
  expect(of("alice").mayPublish("home/secret/temp")).toBe(false);
  expect(of("alice").mayReceive("home/log")).toBe(false);
  expect(of("bob").mayReceive("name with spaces/x")).toBe(true);
  expect(of("bob").mayPublish("own/bob/c1/x")).toBe(true);
  expect(of("bob").mayPublish("own/alice/c1/x")).toBe(false);
  expect(of(undefined).mayPublish("own//c1/x")).toBe(false);
  expect(of(undefined).mayPublish("log/c1")).toBe(true);
  // The broker's own topics are nobody's, whatever he calls himself.
  const own = finish(Acl.read("pattern readwrite %c/#\npattern read %u/#"));
  for (const name of ["$SYS", "$share", "$"]) {
    const permissions = own.permissionsOf({ username: name, clientId: name });
    expect([permissions.mayReceive(`${name}/x`), permissions.maySubscribe([name, "#"])]).toEqual([false, false]);
  }
  expect(
    permissionsFrom({ publish: ["%c/x"], subscribe: [] }, { username: "u", clientId: "$SYS" }).mayPublish("$SYS/x"),
  ).toBe(false);
  expect(own.permissionsOf({ username: "u$", clientId: "c$" }).mayReceive("c$/x")).toBe(true);
  // A name that would become a wildcard fits nowhere.
  expect(of("bob", "+").mayPublish("own/bob/anything/x")).toBe(false);
  expect(of("#", "c1").mayPublish("own/x/c1/x")).toBe(false);
  expect(of("alice").maySubscribe(["#"])).toBe(true);
  expect(of("alice").maySubscribe(["home", "secret", "temp"])).toBe(false);
  expect(of("alice").maySubscribe(["elsewhere", "#"])).toBe(false);
  expect(() => finish(Acl.read("user\n"))).toThrow("line 1");
  expect(() => finish(Acl.read("user a\ntopic rread a b#"))).toThrow("line 2");
  expect(() => finish(Acl.read("topick a"))).toThrow("none of user, topic, pattern");
});

test("what a user's clients may publish, whichever client it is", () => {
  const acl = finish(
    Acl.read(`
topic write open/#
user alice
topic home/#
topic deny home/shut
pattern write own/%u/%c/x
pattern write id-%c/x
pattern write %u-%c/%c/(%c.%c)
pattern deny home/%c/#
pattern deny some/%c
pattern write some/#
pattern deny shut/%u
pattern write shut/#
`),
  );
  const may = (user: string | undefined, topic: string): boolean => acl.mayUserPublish(user, topic);
  const allowed = ["home/x", "home/x/y", "own/alice/any/x", "id-7/x", "shut/bob", "some/device", "alice-c/c/(c.c)"];
  expect(allowed.filter((topic) => !may("alice", topic))).toEqual([]);
  const forbidden = [
    "home/shut",
    "own/bob/any/x",
    "own/alice/x",
    "shut/alice",
    "open/x",
    "else",
    "alice-c/d/(c.c)",
    "alice-c/c/(c.d)",
    "alice-c/c/(cxc)",
  ];
  expect(forbidden.filter((topic) => may("alice", topic))).toEqual([]);
  expect([may(undefined, "open/x"), may(undefined, "home/x"), may(undefined, "own//any/x")]).toEqual([
    true,
    false,
    false,
  ]);
  // Names that fill no pattern, and topics of the broker's own.
  expect([may("+", "own/x/y/x"), may("$SYS", "own/$SYS/y/x"), may("bob", "$SYS/x")]).toEqual([false, false, false]);
});

test("what is remembered of topics is bounded in topics and characters", () => {
  let asked = 0;
  const rule = {
    read: true,
    write: false,
    get levels() {
      asked++;
      return ["#"];
    },
  };
  const rules = new RuleList([rule], { isShared: false, topicsMax: 10, charactersMax: 1000 });
  const ask = (...topics: readonly string[]): number => {
    asked = 0;
    for (const topic of topics) expect(rules.of(topic)).toBe(Says.read);
    return asked;
  };
  expect([ask("a", "b"), ask("a", "b"), ask("a")]).toEqual([2, 0, 0]);
  ask(...Array.from({ length: 10 }, (_, at) => `t/${at}`));
  expect(ask("a")).toBe(1);
  ask("x".repeat(600), "y".repeat(600));
  expect([ask("y".repeat(600)), ask("a"), ask("x".repeat(600))]).toEqual([0, 1, 1]);
  // What does not fit at all is asked for each time.
  expect([ask("z".repeat(1001)), ask("z".repeat(1001))]).toEqual([1, 1]);
});

test("patterns without names are asked once for all clients, denials first, own rules before them", () => {
  const acl = finish(
    Acl.read("user u\ntopic read own/#\npattern read all/#\npattern deny own/x\npattern deny all/x/%c"),
  );
  const of = (username: string, clientId: string) => acl.permissionsOf({ username, clientId });
  expect(of("u", "c").mayReceive("own/x")).toBe(true);
  expect(of("v", "c").mayReceive("own/x")).toBe(false);
  expect([of("u", "c").mayReceive("all/x/c"), of("u", "d").mayReceive("all/x/c")]).toEqual([false, true]);
});

const level = fc.constantFrom("a", "b", "+", "$x", "");
const filters = fc
  .tuple(fc.array(level, { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, open]) => (open ? [...levels.slice(0, -1), "#"] : levels));
const hows = ["read", "write", "readwrite", "deny"] as const;
const topics = fc.array(fc.constantFrom("a", "b", "$x", ""), { minLength: 1, maxLength: 4 });

test("a denial that covers a subscription matches all that the subscription matches", () => {
  fc.assert(
    fc.property(filters, filters, topics, (wide, narrow, topic) => {
      if (covers(wide, narrow) && filterMatches(narrow, topic)) expect(filterMatches(wide, topic)).toBe(true);
    }),
    { numRuns: 5000 },
  );
});

test("what a client may receive it may subscribe to", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(filters, fc.constantFrom("read", "write", "readwrite", "deny")), {
        maxLength: 20,
        size: "max",
      }),
      filters,
      topics,
      (rules, wanted, topic) => {
        fc.pre(filterMatches(wanted, topic));
        const lines = rules.filter(([levels]) => levels.join("/") !== "");
        const acl = finish(
          Acl.read(`user u\n${lines.map(([levels, how]) => `topic ${how} ${levels.join("/")}`).join("\n")}`),
        );
        const permissions = acl.permissionsOf({ username: "u", clientId: "c" });
        if (permissions.mayReceive(topic.join("/"))) expect(permissions.maySubscribe(wanted)).toBe(true);
      },
    ),
    { numRuns: 5000 },
  );
});

test("the rule that is named decides: it says what is asked on the way of a message", () => {
  const lines = fc.array(fc.tuple(fc.constantFrom("topic", "pattern"), filters, fc.constantFrom(...hows)), {
    maxLength: 20,
    size: "max",
  });
  fc.assert(
    fc.property(lines, filters, topics, (rules, wanted, topic) => {
      const said = rules.map(([kind, levels, how]) => `${kind} ${how} ${levels.join("/")}`);
      const text = ["# comment", "user u", ...said].filter((line) => !line.endsWith(" "));
      const permissions = finish(Acl.read(text.join("\n"))).permissionsOf({ username: "u", clientId: "c" });
      const name = topic.join("/");
      const decisions = [permissions.decide(name, "read"), permissions.decide(name, "write")];
      expect(decisions.map(({ isAllowed }) => isAllowed)).toEqual([
        permissions.mayReceive(name),
        permissions.mayPublish(name),
      ]);
      for (const { rule, isAllowed } of [...decisions, permissions.decideSubscribe(wanted)]) {
        if (rule === undefined) expect(isAllowed).toBe(false);
        else expect(text[rule.place!.line - 1]).toBe(rule.place!.words);
      }
    }),
    { numRuns: 2000 },
  );
});

test("a rule is told by its file and line, and what a token grants as that", () => {
  const acl = finish(Acl.read("\nuser alice\n  topic deny  a/secret \ntopic a/#\npattern read own/%u/#\n"));
  const alice = acl.permissionsOf({ username: "alice", clientId: "c" });
  const told = (topic: string): string => describeRule(alice.decide(topic, "read"), "dir/acl");
  expect(told("a/secret")).toBe("dir/acl line 3: topic deny  a/secret");
  expect(told("a/b")).toBe("dir/acl line 4: topic a/#");
  expect(told("own/alice/x")).toBe("dir/acl line 5: pattern read own/%u/#");
  expect(told("b")).toBe("no rule of dir/acl allows it");
  const granted = permissionsFrom({ publish: ["up/%c"], subscribe: [] }, { username: "u", clientId: "c" });
  expect(describeRule(granted.decide("up/c", "write"), "acl")).toBe("a right that it was given with its login: up/c");
});

test("tokens and hooks grant topics with names filled in", () => {
  const granted = permissionsFrom({ publish: ["up/%c"], subscribe: ["down/%u/#"] }, { username: "u", clientId: "c" });
  expect(granted.mayPublish("up/c")).toBe(true);
  expect(granted.mayPublish("down/u/x")).toBe(false);
  expect(granted.mayReceive("down/u/x")).toBe(true);
});

test("passwords: argon2id, SCRAM, and what mosquitto_passwd has written", async () => {
  const salt = Buffer.from("0123456789ab");
  const six = `$6$${salt.toString("base64")}$${createHash("sha512").update("secret").update(salt).digest("base64")}`;
  // Written by mosquitto_passwd 2.0.11.
  const seven =
    "$7$101$Tkqrv91wLcY51f4q$WHuYmzI9OSrCiXjk47vpZI2p7m0x6F/bl88DaJlNHewI0xXUNFT8isIERjs7NAVfCivS3I36cNkaiSYAnG3ovA==";
  for (const [hash, password] of [
    [await hashPassword("secret"), "secret"],
    [await hashForScram("secret"), "secret"],
    [six, "secret"],
    [seven, "secret3"],
  ] as const) {
    expect(await isPasswordOf(hash, Buffer.from(password))).toBe(true);
    expect(await isPasswordOf(hash, Buffer.from(`${password} `))).toBe(false);
    expect(parsePasswordFile(`# users\n\na:${hash}\n`).get("a")).toBe(hash);
  }
  expect(() => parsePasswordFile("a:plain")).toThrow("line 1");
  expect(() => parsePasswordFile(`a:${six}\na:${six}`)).toThrow("line 2");
  expect(() => parsePasswordFile("a:plain")).not.toThrow("plain\n");
  expect(withUser(`a:1\nb:2\n`, "a", "3")).toBe("a:3\nb:2\n");
  expect(withUser(`a:1\nb:2`, "b", undefined)).toBe("a:1\n");
});

test("SCRAM-SHA-256 as RFC 7677 has it", async () => {
  const salt = Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64");
  const users = new Map([["user", await hashForScram("pencil", { iterations: 4096, salt })]]);
  const decoys = { secret: new Uint8Array(32), ...commonShape(users) };
  const exchange = new ScramExchange(users, { decoys, nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0" });
  const first = exchange.first(Buffer.from("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"));
  expect(first.kind === "continue" && first.data.toString()).toBe(
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
  );
  const proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
  const final = exchange.final(Buffer.from(`c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=${proof}`));
  expect(final).toEqual({
    kind: "done",
    username: "user",
    data: Buffer.from("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
  });
  // Another server's nonce, another binding, and somebody who is not there: refused, and not to be told apart before.
  for (const [name, message] of [
    ["user", `c=biws,r=rOprNGfwEbeRWgbNEkqOother,p=${proof}`],
    ["user", `c=eSws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=${proof}`],
    ["nobody", `c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=${proof}`],
  ] as const) {
    const other = new ScramExchange(users, { decoys, nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0" });
    expect(other.first(Buffer.from(`n,,n=${name},r=rOprNGfwEbeRWgbNEkqO`)).kind).toBe("continue");
    expect(other.final(Buffer.from(message)).kind).toBe("refused");
  }
  expect(new ScramExchange(users, { decoys, nonce: "x" }).first(Buffer.from("p=tls-unique,,n=user,r=a")).kind).toBe(
    "refused",
  );
});

test("the order of those who decide, and who is asked not at all", async () => {
  const asked: unknown[] = [];
  let reply: { status: number; body: string } | undefined = {
    status: 200,
    body: '{"result":"allow","acl":{"all":["h/#"]}}',
  };
  const warned: string[] = [];
  const hook = new Hook("http://hook", (_, body) => {
    asked.push(JSON.parse(body));
    return Promise.resolve(reply);
  });
  const access = new Access({ allowAnonymous: false, hook, warn: (why) => void warned.push(why) }, clock);
  finish(access.load({ passwords: `alice:${await hashPassword("pw")}\nmallory:plain` }));
  expect(warned).toEqual([expect.stringContaining("line 2: the password is not hashed")]);
  const login = (username?: string, password?: string, certificate?: string) =>
    new Promise<string>((resolve) => {
      const applicant = {
        clientId: "c",
        username,
        password: password === undefined ? undefined : Buffer.from(password),
      };
      access.authenticate({ ...applicant, address: "10.0.0.1", certificate }, (verdict) =>
        resolve(verdict.kind === "welcome" ? `welcome ${verdict.identity.username}` : verdict.kind),
      );
    });
  expect(await login("alice", "pw")).toBe("welcome alice");
  expect(await login("alice", "no")).toBe("refused");
  expect(await login("alice")).toBe("refused");
  expect(await login("alice", "")).toBe("refused");
  expect(await login(undefined, undefined, "")).toBe("refused");
  expect(await login(undefined, undefined, "cert")).toBe("welcome cert");
  expect(asked.length).toBe(0);
  expect(await login("bob", "x")).toBe("welcome bob");
  expect(await login("bob", "x")).toBe("welcome bob");
  expect(asked).toEqual([{ clientid: "c", username: "bob", password: "x", address: "10.0.0.1", certificate: null }]);
  for (const bad of [
    undefined,
    { status: 500, body: "" },
    { status: 200, body: "yes" },
    { status: 200, body: '{"result":"deny"}' },
    { status: 200, body: '{"result":"allow","acl":5}' },
  ]) {
    reply = bad;
    expect(await login("eve", "x")).toBe("refused");
  }
});

test("a bucket lets through its rate, however it is asked", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 500 }), fc.integer({ min: 1, max: 50 })), { minLength: 20 }),
      (steps) => {
        const bucket = new Bucket(100, 0);
        let at = 0;
        let taken = 0;
        for (const [wait, count] of steps) {
          at += wait;
          const held = bucket.take(count, at);
          taken += count;
          at += held;
        }
        // A second's worth at once, then the rate.
        expect(taken).toBeLessThanOrEqual(100 + (at / 1000) * 100 + 1);
      },
    ),
  );
});

test("a long password file is read a few lines at a time", () => {
  const lines = Array.from({ length: 10_000 }, (_, at) => `user-${at}:plain`);
  let told = 0;
  const work = readPasswordFile(lines.join("\n"), () => told++);
  let steps = 0;
  for (let longest = 0; work.next().done !== true; steps++) {
    longest = told - longest;
    expect(longest).toBeLessThanOrEqual(linesPerStepMax);
    longest = told;
  }
  expect([told, steps]).toEqual([10_000, Math.floor(10_000 / linesPerStepMax)]);
});
