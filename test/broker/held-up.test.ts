/**
 * A broker that is held up for longer than its clients' Keep Alive, by a busy machine or a pause: what they have sent
 * meanwhile lies unread when its deadlines are due, and none of them is taken for gone.
 */
import { expect, test } from "bun:test";
import { eventually, startBroker } from "../support/broker.ts";
import { machine } from "../support/machine.ts";
import { RawClient } from "../support/raw-client.ts";

const clients = 10;
const keepAliveSeconds = 2;
const silenceMs = 1500 * keepAliveSeconds;

/** Has a broker with clients that have just sent something stand still, in the middle of reading or at a deadline. */
async function standStill(where: "while it reads" | "at a deadline"): Promise<void> {
  const broker = await startBroker();
  const all = await Promise.all(
    Array.from({ length: clients }, (_, at) =>
      RawClient.connect(broker.port, { clientId: `c${at}`, keepalive: keepAliveSeconds }),
    ),
  );
  const hold = (): void => {
    for (const client of all) client.send({ cmd: "pingreq" });
    Bun.sleepSync(silenceMs + 500);
  };
  if (where === "at a deadline") {
    const { timers, clock } = broker.server.broker.context;
    await Promise.all(all.map((client) => client.ping()));
    await new Promise<void>((resolve) => {
      setTimeout(() => {
        hold();
        timers.tick(clock.now());
        resolve();
      }, 1);
    });
  } else {
    // The last answer is handled in the turn in which it is read.
    await Promise.all(all.map((client) => client.ping()));
    hold();
  }
  const isAnswered = ({ packets }: RawClient): boolean => packets.some(({ cmd }) => cmd === "pingresp");
  await eventually(() => all.every((client) => client.closed || isAnswered(client)), "each is answered, or dropped");
  expect(all.filter(isAnswered).length).toBe(clients);
  await broker.stop();
}

test.each(["while it reads", "at a deadline"] as const)(
  "a broker that stands still %s takes none of its clients for gone",
  standStill,
  120_000,
);

const connect = "1012 0004 4d515454 04 02 0002 0006 646576696365";

test("who has said nothing is disconnected, however late the broker always is", async () => {
  const { dial, pass, hold } = await machine();
  const device = dial();
  device.send(connect);
  await Promise.resolve();
  pass(silenceMs - 1);
  expect(device.state.closed).toBe(false);
  for (let late = 0; late < 100 && !device.state.closed; late++) hold(1000);
  expect(device.state.closed).toBe(true);
  const punctual = dial();
  punctual.send(connect);
  await Promise.resolve();
  pass(silenceMs + 200);
  expect(punctual.state.closed).toBe(true);
});

test("a CONNECT that lies unread when its time is over is answered", async () => {
  const { dial, hold } = await machine();
  const device = dial();
  hold(11_000);
  device.send(connect);
  await Promise.resolve();
  expect(device.state.closed).toBe(false);
  expect(device.state.sent.slice(0, 1)).toEqual([0x20]);
});
