/**
 * A mailbox that is full and is emptied at another broker: nobody who publishes here is told of it, and goes on all the
 * same.
 */
import { expect, test } from "bun:test";
import { ClientSession } from "../../src/client/client-session.ts";
import { connect } from "../../src/client/dial.ts";
import { eventually } from "../support/broker.ts";
import { startCluster } from "../support/cluster.ts";

const quotaExceeded = 0x97;

test("what was refused for a full mailbox is taken when its session has been served by another broker", async () => {
  const cluster = await startCluster(["a", "b"], { maxQueued: 5, bankWait: 1, mailboxFull: "refuse" });
  const session = new ClientSession();
  const received: string[] = [];
  const reader = () =>
    connect({
      host: "127.0.0.1",
      port: cluster.port(1),
      clientId: "reader",
      clean: false,
      sessionExpiryInterval: 600,
      session,
      onMessage: ({ payload }) => void received.push(Buffer.from(payload).toString()),
    });
  const first = await reader();
  await first.subscribe(["full"], { qos: 1 });
  first.disconnect();
  const publisher = await connect({ host: "127.0.0.1", port: cluster.port(0), clientId: "publisher" });
  let sent = 0;
  const publish = (): Promise<number> => publisher.publish("full", String(++sent), { qos: 1 });
  // The first count of the mailbox may come late.
  await eventually(async () => (await publish()) === quotaExceeded, "the mailbox is full", 60_000);
  const back = await reader();
  await eventually(async () => (await publish()) < 0x80, "the mailbox takes messages again", 60_000);
  await eventually(() => received.at(-1) === String(sent), "the last one arrives", 60_000);
  expect(new Set(received).size).toBe(received.length);
  back.disconnect();
  publisher.disconnect();
  await cluster.stop();
}, 120_000);
