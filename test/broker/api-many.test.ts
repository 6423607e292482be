/** The HTTP API of a broker with 100,000 clients: pages are right, and no turn of the event loop is long. */
import { expect, test } from "bun:test";
import { apiRequestsMax, pageBytesMax } from "../../src/base/api-limits.ts";
import { threadCpuMs } from "../../src/base/clock.ts";
import { LocalSession } from "../../src/broker/delivery/local-session.ts";
import { Session } from "../../src/session/session.ts";
import { freePort } from "../bench/brokers.ts";
import { ApiClient } from "../support/api.ts";
import { eventually, withBroker } from "../support/broker.ts";

const clients = 100_000;
/** A slice of the event loop, and what the rows of a page cost besides; the processor's time, in ms. */
const turnMsMax = 30;
/** The garbage collector has turns of its own choice: one may be longer, and none as long as this. */
const rare = 1;
const neverMs = 100;

/** Measures the longest round of the event loop, by the processor's time, until `end`, which returns it in ms. */
function watchLoop(): { end(): number } {
  let [longest, last, isOver] = [0, threadCpuMs(), false];
  const look = (): void => {
    const now = threadCpuMs();
    longest = Math.max(longest, now - last);
    last = now;
    if (!isOver) setImmediate(look);
  };
  setImmediate(look);
  return {
    end() {
      look();
      isOver = true;
      return longest;
    },
  };
}

test("100,000 clients are listed, searched and sorted, in short turns", async () => {
  const port = await freePort();
  await withBroker({ httpPort: port, httpHost: "127.0.0.1" }, async ({ server }) => {
    const { context } = server.broker;
    for (let index = 0; index < clients; index++) {
      // In no order.
      const id = `device-${(index * 7919) % clients}`;
      const client = new LocalSession(context, new Session(id, index % 2 === 0 ? 4 : 5, index % 1000));
      client.belongTo(`user-${index % 100}`, 0);
      context.localSessions.set(id, client);
    }
    const api = await ApiClient.open(port);
    const { times } = context.turns;
    const longer = (): number =>
      times.counts.slice(times.ends.indexOf(turnMsMax) + 1).reduce((sum, one) => sum + one, 0);
    const before = longer();
    context.turns.takeLongestMs();
    const listed: string[] = [];
    let cursor = "";
    for (let page = 0; page < 5; page++) {
      const { items, next } = await api.get(`/clients?limit=1000${cursor}`);
      listed.push(...items.map((item: { client_id: string }) => item.client_id));
      cursor = `&cursor=${next}`;
    }
    expect(listed).toEqual([...context.localSessions.keys()].sort().slice(0, 5000));
    for (const query of [
      "search=99999",
      "sort=-user&limit=1000",
      "user=user-7&sort=client_id&limit=1000",
      "listener=tls",
    ])
      expect((await api.get(`/clients?${query}`)).items.length).toBe(
        query.startsWith("search") ? 1 : query.startsWith("listener") ? 0 : 1000,
      );
    expect(longer() - before).toBeLessThanOrEqual(rare);
    expect(context.turns.takeLongestMs()).toBeLessThan(neverMs);
    const watch = watchLoop();
    await fetch(`http://127.0.0.1:${port}/api/v1/clients?sort=-user&limit=1000`).then((answer) => answer.arrayBuffer());
    expect(watch.end()).toBeLessThan(2 * turnMsMax);
    // Clients whose ids are as long as they may be: a page ends early.
    for (let index = 0; index < 100; index++) {
      const id = `${"long".repeat(16_000)}${index}`;
      context.localSessions.set(id, new LocalSession(context, new Session(id, 5, 0)));
    }
    const long = await api.all("/clients?search=longlong&limit=1000");
    expect(new Set(long.map(({ client_id }) => client_id)).size).toBe(100);
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/clients?search=longlong&limit=1000`);
    expect((await response.text()).length).toBeLessThan(2 * pageBytesMax);
    // As many at once as are answered, and some more: each is answered, or told to come later.
    const statuses = await Promise.all(
      Array.from({ length: 2 * apiRequestsMax }, async () => {
        const answer = await fetch(`http://127.0.0.1:${port}/api/v1/clients?limit=10`);
        await answer.text();
        return answer.status;
      }),
    );
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(apiRequestsMax);
    expect(statuses.filter((status) => status !== 200 && status !== 503)).toEqual([]);
    context.localSessions.clear();
  });
}, 120_000);

test("who reads nothing of the answers holds up nobody", async () => {
  const port = await freePort();
  await withBroker({ httpPort: port, httpHost: "127.0.0.1" }, async ({ server }) => {
    const { context } = server.broker;
    for (let index = 0; index < 5000; index++) {
      const id = `slow-reader-s-list-${"x".repeat(500)}${index}`;
      context.localSessions.set(id, new LocalSession(context, new Session(id, 5, 0)));
    }
    const slow = await Promise.all(
      Array.from({ length: 2 * apiRequestsMax }, () =>
        Bun.connect({
          hostname: "127.0.0.1",
          port,
          socket: {
            open(socket) {
              socket.write("GET /api/v1/clients?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
              socket.pause();
            },
            data() {},
          },
        }),
      ),
    );
    // Answers that are on their way take no place of those that are worked out.
    const answers = async (): Promise<boolean> => (await fetch(`http://127.0.0.1:${port}/api/v1/clients?limit=1`)).ok;
    await eventually(answers, "somebody else is answered");
    for (const socket of slow) socket.terminate();
    context.localSessions.clear();
  });
}, 60_000);
