/** The trie and the retained tree against the naive matcher, and the route cache against subscriptions that change. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { wildcardShapesMax } from "../../src/base/limits.ts";
import { makePublish } from "../../src/mqtt/publish.ts";
import type { Subscription } from "../../src/mqtt/subscription.ts";
import { filterMatches, parseFilter } from "../../src/mqtt/topic.ts";
import { FilterTrie } from "../../src/router/filter-trie.ts";
import { RetainedMessages } from "../../src/router/retained.ts";
import { Router } from "../../src/router/router.ts";

const level = fc.constantFrom("a", "b", "c", "", "$x");
const topicOf = fc
  .array(level, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join("/"))
  .filter((topic) => topic !== "");
const filterOf = fc
  .tuple(fc.array(fc.oneof(level, fc.constant("+")), { maxLength: 4 }), fc.boolean())
  .map(([levels, hash]) => (hash ? [...levels, "#"] : levels).join("/"))
  .filter((filter) => filter !== "");

function subscription(text: string, more: Partial<Subscription> = {}): Subscription {
  return {
    filter: parseFilter(text)!,
    qos: 0,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
    id: 0,
    ...more,
  };
}

/** A subscriber: the router only looks at who it is. */
interface Named {
  readonly name: string;
}
const named = (name: string): Named => subscribers.get(name)!;
const subscribers = new Map(["x", "y", "z"].map((name) => [name, { name }]));

function route(router: Router<Named, never>, topic: string): string[] {
  const bytes = encodeUtf8(topic);
  return router
    .route(bytes, 0, bytes.length)!
    .targets.map(({ subscriber }) => subscriber.name)
    .sort();
}

test("the trie finds what the naive matcher finds, while subscriptions come and go", () => {
  const step = fc.record({ who: fc.constantFrom("x", "y", "z"), filter: filterOf, add: fc.boolean() });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 40, size: "max" }),
      fc.array(topicOf, { minLength: 1, maxLength: 10 }),
      (steps, topics) => {
        const trie = new FilterTrie<string>();
        const router = new Router<Named, never>();
        const model = new Map<string, Set<string>>();
        for (const { who, filter, add } of steps) {
          const owners = model.get(filter) ?? new Set();
          model.set(filter, owners);
          if (add) {
            trie.add(who, subscription(filter));
            router.subscribe(named(who), subscription(filter));
            owners.add(who);
          } else {
            expect(trie.remove(who, subscription(filter))).toBe(owners.delete(who));
            router.unsubscribe(named(who), subscription(filter));
          }
          // Routes are cached from the start, so that stale ones would show.
          for (const topic of topics) {
            const expected = new Set<string>();
            for (const [text, present] of model) {
              if (filterMatches(text.split("/"), topic.split("/"))) for (const owner of present) expected.add(owner);
            }
            const found = new Set<string>();
            trie.match(topic.split("/"), (node) => {
              for (const owner of node.subscribers?.keys() ?? []) found.add(owner);
            });
            expect(found).toEqual(expected);
            expect(route(router, topic)).toEqual([...expected].sort());
          }
        }
        let size = 0;
        for (const owners of model.values()) size += owners.size;
        expect(trie.size).toBe(size);
      },
    ),
    { numRuns: 200 },
  );
});

test("members of shared subscriptions are counted apart, each of them, as long as they are there", () => {
  const trie = new FilterTrie<string>();
  for (const filter of ["a", "$share/g/a", "$share/h/a"]) trie.add("x", subscription(filter));
  for (const qos of [0, 1] as const) trie.add("y", subscription("$share/g/a", { qos }));
  expect([trie.size, trie.sharedSize]).toEqual([4, 3]);
  for (const filter of ["a", "$share/g/a", "$share/none/a", "$share/g/a"]) trie.remove("x", subscription(filter));
  expect([trie.size, trie.sharedSize]).toEqual([2, 2]);
});

test("a topic matches few filters of each shape, so only so many shapes are taken", () => {
  const router = new Router<Named, never>();
  const wild = (at: number): Subscription =>
    subscription([...at.toString(2).padStart(12, "0")].map((bit) => (bit === "0" ? "a" : "+")).join("/"));
  const taken: Subscription[] = [];
  for (let at = 0; at < 4096; at++) {
    if (!router.mayTake(wild(at).filter)) continue;
    router.subscribe(named("x"), wild(at));
    taken.push(wild(at));
  }
  // Those with two wildcards at most are taken always.
  expect(taken.length).toBe(wildcardShapesMax + 1 + 12 + 66);
  expect(router.mayTake(parseFilter("b/b/b/b/b/b/b/b/b/+/+/+")!)).toBe(true);
  expect(router.mayTake(parseFilter("+/+/+/+/+/+/+/+/+/+/+/+/+")!)).toBe(false);
  expect(router.mayTake(parseFilter("+/+/b/b/b/b/b/b/b/b/b/b/b/b/#")!)).toBe(true);
  for (const one of taken) router.unsubscribe(named("x"), one);
  expect(router.subscriptions).toBe(0);
  expect(router.mayTake(parseFilter("+/+/+/+/+/+/+/+/+/+/+/+/+")!)).toBe(true);
});

test("retained messages match as subscriptions do", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(topicOf, fc.boolean()), { maxLength: 30, size: "max" }),
      filterOf,
      (steps, filter) => {
        const retained = new RetainedMessages();
        const model = new Set<string>();
        for (const [topic, add] of steps) {
          const publish = makePublish(encodeUtf8(topic), encodeUtf8("x"), { qos: 0, retain: true });
          if (add) retained.set(topic, publish, "here");
          else expect(retained.delete(topic)).toBe(model.has(topic));
          if (add) model.add(topic);
          else model.delete(topic);
        }
        const found = retained.match(filter.split("/")).map(({ topic }) => topic);
        expect(found.sort()).toEqual(
          [...model].filter((topic) => filterMatches(filter.split("/"), topic.split("/"))).sort(),
        );
        expect(retained.size).toBe(model.size);
        if (model.size === 0) expect(retained.bytes).toBe(0);
      },
    ),
    { numRuns: 300 },
  );
});

test("filters that the standard forbids, and topics that are none", () => {
  for (const filter of [
    "",
    "#/a",
    "a/#/b",
    "a#",
    "+a",
    "a/b+",
    "$share",
    "$share/",
    "$share/g",
    "$share//a",
    "$share/g/",
    "$share/+/a",
    "a/".repeat(200),
  ]) {
    expect(parseFilter(filter)).toBeUndefined();
  }
  for (const filter of ["#", "+", "/", "a//b", "+/+/#", "$share/g/#", "$share/g//", "$SYS/#"])
    expect(parseFilter(filter)).toBeDefined();
  expect(parseFilter("$share/group/a/+")).toMatchObject({ group: "group", levels: ["a", "+"] });
  const router = new Router<Named, never>();
  for (const topic of ["", "a/+", "#", "a/".repeat(200)]) {
    const bytes = encodeUtf8(topic);
    expect(router.route(bytes, 0, bytes.length)).toBeUndefined();
  }
});

test("overlapping subscriptions become one target, and no local takes only its own away", () => {
  const router = new Router<Named, never>();
  router.subscribe(named("x"), subscription("a/#", { qos: 1, id: 5, noLocal: true }));
  router.subscribe(named("x"), subscription("a/b", { qos: 2, id: 6 }));
  router.subscribe(named("y"), subscription("a/b", { noLocal: true }));
  const bytes = encodeUtf8("a/b");
  const [x, y] = router.route(bytes, 0, bytes.length)!.targets;
  expect(x).toMatchObject({ subscriber: named("x"), qos: 2, subscriptionIds: [5, 6] });
  expect(x!.own).toMatchObject({ qos: 2, subscriptionIds: [6] });
  expect(y!.own).toBeUndefined();
});

test("routes to subscribers that have gone are forgotten, those that are used are not", () => {
  const router = new Router<Named, never>();
  const lasting = subscription("lasting/#");
  router.subscribe(named("x"), lasting);
  for (let number = 0; number < 10_000; number++) {
    const passing = subscription(`passing/${number}`);
    router.subscribe(named("y"), passing);
    expect(route(router, `passing/${number}`)).toEqual(["y"]);
    router.unsubscribe(named("y"), passing);
    expect(route(router, "lasting/topic")).toEqual(["x"]);
  }
  expect(router.routes).toBeLessThan(100);
  const bytes = encodeUtf8("published");
  router.route(bytes, 0, bytes.length)!.wasPublished = true;
  for (let number = 0; number < 100; number++) {
    router.subscribe(named("y"), lasting);
    router.unsubscribe(named("y"), lasting);
  }
  expect([...router.takePublished()]).toEqual(["published"]);
});
