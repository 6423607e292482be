// What the client library promises, played on whatever runtime loads this: Bun, Node, a browser. Each scenario gets the library,
// a URL of a broker, and what only our own broker can do; it throws when something is not so.

function equal(actual, expected, what) {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: ${a}, and should be ${b}`);
}

async function rejected(promise, what) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`${what}: it was not rejected`);
}

/** Takes so many messages. */
async function take(messages, count) {
  const taken = [];
  for (let left = count; left > 0; left--) {
    const { value, done } = await messages.next();
    if (done) throw new Error(`ended after ${taken.length} of ${count}`);
    taken.push(value);
  }
  return taken;
}

/** Waits for a condition, for five seconds. */
async function until(condition, what) {
  for (const giveUpAt = Date.now() + 5000; !condition(); ) {
    if (Date.now() > giveUpAt) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

let sequence = 0;
/** A name that no other scenario uses, nor an earlier run. */
function unique(name) {
  return `${name}-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}-${++sequence}`;
}

/** A validator as Standard Schema has them: numbers. */
const aNumber = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) =>
      typeof value === "number" ? { value } : { issues: [{ message: `${JSON.stringify(value)} is no number` }] },
  },
};

export const scenarios = {
  async "every QoS, in order, with its payload whole"({ connect, url }) {
    const topic = unique("order");
    const [publisher, subscriber] = await Promise.all([connect(url), connect(url)]);
    for (const qos of [0, 1, 2]) {
      const messages = await subscriber.subscribe(`${topic}/${qos}`, { qos });
      const sent = Array.from({ length: 300 }, (_, index) => `${index} ${"ä".repeat(index)}`);
      await Promise.all(sent.map((text) => publisher.publish(`${topic}/${qos}`, text, { qos })));
      const taken = await take(messages, sent.length);
      equal(
        taken.map(({ text }) => text),
        sent,
        `QoS ${qos}`,
      );
      equal(
        taken.every((message) => message.qos === qos),
        true,
        "delivered with the QoS asked for",
      );
    }
    const large = new Uint8Array(300_000).map((_, index) => index % 251);
    const messages = await subscriber.subscribe(`${topic}/large`, { qos: 1 });
    await publisher.publish(`${topic}/large`, large, { qos: 1 });
    const [{ payload }] = await take(messages, 1);
    equal(payload.every((byte, index) => byte === large[index]) && payload.length, large.length, "300,000 bytes");
    await Promise.all([publisher.end(), subscriber.end()]);
  },

  async "several subscriptions that overlap each get their message once"({ connect, url }) {
    const root = unique("overlap");
    const client = await connect(url);
    const [exact, wild, same] = await Promise.all([
      client.subscribe(`${root}/x`, { qos: 1 }),
      client.subscribe(`${root}/{name}`, { qos: 1 }),
      client.subscribe(`${root}/x`, { qos: 1 }),
    ]);
    await client.publish(`${root}/x`, "1", { qos: 1 });
    await client.publish(`${root}/y`, "2", { qos: 1 });
    await client.publish(`${root}/x`, "3", { qos: 1 });
    equal(
      (await take(exact, 2)).map(({ text }) => text),
      ["1", "3"],
      "the exact one",
    );
    equal(
      (await take(same, 2)).map(({ text }) => text),
      ["1", "3"],
      "the same filter again",
    );
    equal(
      (await take(wild, 3)).map(({ text }) => text),
      ["1", "2", "3"],
      "the wildcard",
    );
    await exact.unsubscribe();
    await client.publish(`${root}/x`, "4", { qos: 1 });
    equal((await take(same, 1))[0].text, "4", "the other one of the filter stays");
    await client.end();
  },

  async "several patterns in one subscription: each message once, though several match"({ connect, url }) {
    const root = unique("patterns");
    const client = await connect(url);
    await client.publish(`${root}/a/stored`, "stored", { qos: 1, retain: true });
    // A broker may acknowledge a message before it passes it on: who subscribes in between gets it, and what is
    // stored as well.
    const behind = await client.subscribe(`${root}-behind`, { qos: 1 });
    await client.publish(`${root}-behind`, "", { qos: 1 });
    await take(behind, 1);
    await behind.unsubscribe();
    const messages = await client.subscribe([`${root}/{room}/{what}`, `${root}/a/#`, `${root}/b`], { qos: 1 });
    const alone = await client.subscribe(`${root}/b`, { qos: 1 });
    for (const topic of ["a/x", "a/x/y", "b", "c/z", "a/last"])
      await client.publish(`${root}/${topic}`, topic, { qos: 1 });
    equal(
      (await take(messages, 6)).map(({ text, params }) => [text, params.what]),
      [
        ["stored", "stored"],
        ["a/x", "x"],
        ["a/x/y", undefined],
        ["b", undefined],
        ["c/z", "z"],
        ["a/last", "last"],
      ],
      "all of them",
    );
    equal((await take(alone, 1))[0].text, "b", "one of them besides, alone");
    await messages.unsubscribe();
    for (const topic of ["a/x", "b"]) await client.publish(`${root}/${topic}`, "later", { qos: 1 });
    equal([(await take(alone, 1))[0].topic, alone.waiting], [`${root}/b`, 0], "the other one stays");
    equal([await messages.next(), messages.waiting], [{ done: true }, 0], "nothing comes any more");
    await client.publish(`${root}/a/stored`, "", { retain: true });
    await client.end();
  },

  async "state: none, set, seen by another client, cleared"({ connect, url }) {
    const topic = unique("state");
    const [one, other] = await Promise.all([connect(url), connect(url)]);
    const state = one.state(topic, { schema: aNumber });
    equal(await state.get(), undefined, "nothing stored");
    await state.set(21);
    const seen = other.state(topic, { schema: aNumber });
    equal(await seen.get(), 21, "stored, for who comes later");
    const iterator = seen[Symbol.asyncIterator]();
    equal((await iterator.next()).value, 21, "the value as it is");
    const next = iterator.next();
    await state.set(22);
    equal((await next).value, 22, "the next one");
    const cleared = iterator.next();
    await state.clear();
    equal(await cleared, { done: false }, "cleared");
    await seen.end();
    equal((await iterator.next()).done, true, "ended");
    await Promise.all([one.end(), other.end()]);
  },

  async "schemas: what is not valid is neither published nor delivered"({ connect, url, lib }) {
    const topic = unique("schema");
    const client = await connect(url);
    const invalid = [];
    const numbers = await client.subscribe(topic, {
      qos: 1,
      schema: aNumber,
      onInvalid: (message, error) => invalid.push([message.text, error instanceof lib.ValidationFailed]),
    });
    const refused = await rejected(client.publish(topic, "x", { schema: aNumber }), "published");
    equal([refused instanceof lib.ValidationFailed, refused.issues.length], [true, 1], String(refused));
    await client.publish(topic, "not JSON", { qos: 1 });
    await client.publish(topic, '"text"', { qos: 1 });
    await client.publish(topic, 5, { schema: aNumber, qos: 1 });
    const [message] = await take(numbers, 1);
    equal(message.data, 5, "the valid one");
    if (client.version === 5) equal(message.contentType, "application/json", "it says what it is");
    equal(
      invalid,
      [
        ["not JSON", true],
        ['"text"', true],
      ],
      "told of the others",
    );
    equal(numbers.invalid, 2, "counted");
    await client.end();
  },

  async "signals end what they are given to"({ connect, url }) {
    const topic = unique("signal");
    const reason = new Error("enough");
    const client = await connect(url);
    const ending = new AbortController();
    const messages = await client.subscribe(topic, { signal: ending.signal });
    const waiting = rejected(messages.next(), "waiting");
    ending.abort(reason);
    equal((await waiting) === reason, true, "a loop throws the signal's reason");
    equal(
      (await rejected(client.publish(topic, "", { signal: ending.signal }), "publish")) === reason,
      true,
      "publish",
    );
    equal((await rejected(connect(url, { signal: ending.signal }), "connect")) === reason, true, "connect");
    await client.end();
  },

  async "what cannot be meant is a TypeError"({ connect, url }) {
    const client = await connect(url);
    for (const [what, attempt] of Object.entries({
      "a topic with a wildcard": () => client.publish("a/#", ""),
      "an empty topic": () => client.publish("", ""),
      "a payload that is a number": () => client.publish("a", 5),
      "QoS 3": () => client.publish("a", "", { qos: 3 }),
      "half a level": async () => client.messages("a/x{id}"),
      "a name twice": async () => client.messages("{a}/{a}"),
      "no pattern at all": async () => client.messages([]),
      "a level after #": async () => client.messages("{...a}/b"),
      "an http URL": () => connect("http://localhost"),
      "no URL": () => connect([]),
      "a port too high": () => connect("mqtt://localhost:70000"),
      "a session without a name": () => connect(url, { sessionExpiryMs: 60_000 }),
    })) {
      const error = await rejected(attempt(), what);
      equal(error instanceof TypeError, true, `${what}: ${error}`);
    }
    await client.end();
    const { name } = await rejected(client.publish("a", ""), "publish after end");
    equal(name, "ClientClosed", "publish after end");
  },

  async "a session outlives its client: what came meanwhile is there, and waits until it is asked for"({
    connect,
    url,
  }) {
    const topic = unique("session");
    const options = { clientId: unique("sleeper"), sessionExpiryMs: 3_600_000 };
    const first = await connect(url, options);
    await first.subscribe(`${topic}/{n}`, { qos: 2 });
    // Left without unsubscribing: the session stays.
    await first.end();
    const publisher = await connect(url);
    for (const n of [1, 2, 3]) await publisher.publish(`${topic}/${n}`, String(n), { qos: 1 });
    await publisher.publish(`${topic}/exactly`, "once", { qos: 2 });
    const second = await connect(url, options);
    equal(second.status.sessionPresent, true, "the session is there");
    await until(() => second.unclaimed === 4, "four messages");
    const messages = await second.subscribe(`${topic}/{n}`, { qos: 2 });
    const taken = (await take(messages, 4)).map(({ params }) => params.n);
    // Messages of another QoS may overtake (4.6).
    equal(
      taken.filter((n) => n !== "exactly"),
      ["1", "2", "3"],
      "in order",
    );
    equal(taken.includes("exactly"), true, "that of QoS 2 as well");
    await publisher.publish(`${topic}/4`, "4", { qos: 1 });
    equal((await take(messages, 1))[0].text, "4", "and what comes then");
    await messages.unsubscribe();
    await second.end();
    const third = await connect(url, options);
    await third.flush();
    equal(third.unclaimed, 0, "all was acknowledged");
    await Promise.all([third.end(), publisher.end()]);
  },
};

/** What needs MQTT 5. */
export const scenariosOf5 = {
  async "names in patterns, and everything that a message says"({ connect, url }) {
    const root = unique("names");
    const client = await connect(url);
    const rooms = await client.subscribe(`${root}/{building}/{...rest}`, { qos: 1 });
    await client.publish(`${root}/a/1/temp`, "21.5", {
      qos: 1,
      expiryMs: 600_000,
      contentType: "text/plain",
      isText: true,
      correlationData: Uint8Array.of(0, 255),
      responseTopic: "answers",
      userProperties: [
        ["unit", "C"],
        ["unit", "°"],
      ],
    });
    const [message] = await take(rooms, 1);
    equal(message.params, { building: "a", rest: "1/temp" }, "params");
    equal(message.json(), 21.5, "JSON");
    equal([message.contentType, message.isText, message.responseTopic], ["text/plain", true, "answers"], "properties");
    equal(Array.from(message.correlationData), [0, 255], "correlation data");
    equal(
      message.userProperties,
      [
        ["unit", "C"],
        ["unit", "°"],
      ],
      "user properties",
    );
    equal(message.expiryMs > 590_000 && message.expiryMs <= 600_000, true, `expiry ${message.expiryMs}`);
    await client.end();
  },

  async "the broker sends no more than receiveMaximum before messages are acknowledged"({ connect, url }) {
    const topic = unique("window");
    const [publisher, subscriber] = await Promise.all([connect(url), connect(url, { receiveMaximum: 3 })]);
    const messages = await subscriber.subscribe(topic, { qos: 1, ack: "manual" });
    await Promise.all(Array.from({ length: 10 }, (_, index) => publisher.publish(topic, String(index), { qos: 1 })));
    const first = await take(messages, 3);
    await subscriber.flush();
    equal(messages.waiting, 0, "no fourth");
    first[0].ack();
    const [fourth] = await take(messages, 1);
    equal(fourth.text, "3", "the fourth, after an ack");
    for (const message of [...first, fourth]) message.ack();
    for (const expected of ["4", "5", "6", "7", "8", "9"]) {
      const [message] = await take(messages, 1);
      equal(message.text, expected, "the rest in order");
      message.ack();
      message.ack();
    }
    await Promise.all([publisher.end(), subscriber.end()]);
  },

  async "a loop acknowledges each message when it asks for the next, and unsubscribes when it is left"({
    connect,
    url,
  }) {
    const topic = unique("loop");
    const [publisher, subscriber] = await Promise.all([connect(url), connect(url, { receiveMaximum: 1 })]);
    const messages = await subscriber.subscribe(topic, { qos: 2 });
    const sent = Promise.all(["a", "b", "c"].map((text) => publisher.publish(topic, text, { qos: 2 })));
    const seen = [];
    for await (const message of messages) {
      seen.push(message.text);
      if (seen.length === 3) break;
    }
    await sent;
    equal(seen, ["a", "b", "c"], "seen");
    equal((await messages.next()).done, true, "ended");
    const { noSubscribers } = await publisher.publish(topic, "d", { qos: 1 });
    equal(noSubscribers, true, "nobody is subscribed any more");
    await Promise.all([publisher.end(), subscriber.end()]);
  },

  async "requests and responses: an answer, a failure, nobody, too late"({ connect, url, lib }) {
    const root = unique("ask");
    const [asker, responder] = await Promise.all([connect(url), connect(url)]);
    const held = responder.respond(`${root}/{what}`, async ({ params, text }) => {
      if (params.what === "bad") throw new Error("cannot be done");
      if (params.what === "slow") await new Promise(() => {});
      return `${params.what}: ${text}`;
    });
    await held.ready;
    const answers = await Promise.all([1, 2, 3].map((index) => asker.request(`${root}/echo`, String(index))));
    equal(
      answers.map(({ text }) => text),
      ["echo: 1", "echo: 2", "echo: 3"],
      "answers to whoever asked",
    );
    const failed = await rejected(asker.request(`${root}/bad`, ""), "a failing responder");
    equal([failed instanceof lib.RequestFailed, failed.message], [true, "cannot be done"], "its words");
    const nobody = await rejected(asker.request(unique("nobody"), "", { qos: 1 }), "nobody");
    equal(nobody instanceof lib.RequestFailed, true, `nobody: ${nobody}`);
    const late = await rejected(asker.request(`${root}/slow`, "", { timeoutMs: 50 }), "too late");
    equal(late instanceof lib.TimedOut, true, `late: ${late}`);
    const reason = new Error("changed my mind");
    const aborting = new AbortController();
    const aborted = rejected(asker.request(`${root}/slow`, "", { signal: aborting.signal }), "aborted");
    aborting.abort(reason);
    equal((await aborted) === reason, true, "the signal's reason");
    await Promise.all([asker.end(), responder.end()]);
  },
};

/** What only our own broker does. */
export const scenariosOfOurBroker = {
  async "another client of the same name takes the session over, and there is no fight"({ connect, url }) {
    const clientId = unique("twin");
    const states = [];
    const first = await connect(url, { clientId, onStatus: ({ state }) => states.push(state) });
    const messages = await first.subscribe("x");
    const ended = rejected(messages.next(), "the loop of the first");
    const second = await connect(url, { clientId });
    equal((await ended).name, "ClientClosed", "ended");
    equal(states, ["connecting", "connected", "closed"], "it does not come back");
    await second.publish("x", "", { qos: 1 });
    await Promise.all([first.end(), second.end()]);
  },

  async "an empty bank refuses with price, balance and when to try again"({ connect, url, lib }) {
    const topic = unique("bank");
    const sleeper = await connect(url, { clientId: unique("away"), sessionExpiryMs: 3_600_000 });
    await sleeper.subscribe(topic, { qos: 1 });
    await sleeper.end();
    const client = await connect(url);
    const quote = await client.bank.quote(1_000_000, { expiryMs: 3_600_000 });
    // 40,000 for its bytes, 4 for the hour, and less than 100 for three znodes.
    equal(
      [quote.isAffordable, quote.least > 40_050 && quote.least < 40_100, quote.least === quote.most],
      [false, true, true],
      JSON.stringify(quote),
    );
    const cheap = await client.bank.quote(100, { copies: 2 });
    // Twice 100 for the time, 4 for the bytes, and what six znodes cost.
    equal(
      [cheap.isAffordable, cheap.least > 300 && cheap.least < 400, cheap.least === cheap.most],
      [true, true, true],
      JSON.stringify(cheap),
    );
    const deep = await client.bank.quote(100, { copies: 2, topic: "a/b/c" });
    equal(deep.least > cheap.least + 4 * 17, true, JSON.stringify(deep));
    const error = await rejected(
      client.publish(topic, new Uint8Array(1_000_000), { qos: 1, expiryMs: 3_600_000 }),
      "too dear",
    );
    equal(
      [error instanceof lib.QuotaExceeded, error.name, error.reasonCode],
      [true, "QuotaExceeded", 0x97],
      String(error),
    );
    equal(error.price > 40_000 && error.price < 40_200, true, `price ${error.price}`);
    equal(
      // It is more than the bank has in all.
      [error.balance >= 0 && error.balance < 40_000, error.retryAfterMs],
      [true, undefined],
      `${error.balance} ${error.retryAfterMs}`,
    );
    await client.publish(topic, "cheap", { qos: 1 });
    await client.end();
  },

  async "who may not is told so"({ connect, guardedUrl, lib }) {
    const nobody = await rejected(connect(guardedUrl.replace(/:\d+$/, ":1")), "nobody there");
    equal([nobody instanceof lib.ConnectFailed, nobody.reasonCode], [true, undefined], String(nobody));
    const stranger = await rejected(connect(guardedUrl), "a stranger");
    equal([stranger instanceof lib.ConnectFailed, stranger.reasonCode], [true, 0x87], String(stranger));
    const asked = [];
    const password = async () => {
      asked.push("asked");
      return "right";
    };
    const alice = await connect(guardedUrl, { username: "alice", password });
    equal(asked.length, 1, "the password is asked for");
    const publish = await rejected(alice.publish("forbidden", "", { qos: 1 }), "publish");
    equal(
      [publish instanceof lib.PublishRefused, publish.topic, publish.reasonCode],
      [true, "forbidden", 0x87],
      String(publish),
    );
    const subscribe = await rejected(alice.subscribe("forbidden"), "subscribe");
    equal([subscribe instanceof lib.SubscribeRefused, subscribe.filter], [true, "forbidden"], String(subscribe));
    await alice.publish("home/x", "", { qos: 1 });
    await alice.end();
  },
};

const patienceMs = 15_000;

/** One that hangs is named. */
function inTime(played) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("it hangs")), patienceMs);
    played.then(resolve, reject).finally(() => clearTimeout(late));
  });
}

/** What each runtime plays with our broker. */
export const allScenarios = { ...scenarios, ...scenariosOf5, ...scenariosOfOurBroker };

/** Plays them one after the other; resolves with what each came to: "ok", or the error. */
export async function play(all, stage) {
  const results = {};
  for (const [name, scenario] of Object.entries(all)) {
    try {
      await inTime(scenario(stage));
      results[name] = "ok";
    } catch (error) {
      results[name] = String(error?.stack ?? error);
    }
  }
  return results;
}
