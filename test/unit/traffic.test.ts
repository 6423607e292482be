/** The rates of a connection's traffic, between the looks at it. */
import { expect, test } from "bun:test";
import { Traffic } from "../../src/broker/delivery/traffic.ts";

test("a rate is what has come between the last two looks, and before the second one since the connection opened", () => {
  const traffic = new Traffic();
  traffic.begin(10_000);
  const come = (messages: number, bytes: number): void => {
    traffic.messagesIn += messages;
    traffic.messagesOut += 2 * messages;
    traffic.bytesIn += bytes;
  };
  come(20, 600);
  // So soon after its opening a rate would say little.
  expect(traffic.rates(10_001, 50)).toEqual({ messagesIn: 20, messagesOut: 40, bytesIn: 600, bytesOut: 50 });
  expect(traffic.rates(12_000, 50)).toEqual({ messagesIn: 10, messagesOut: 20, bytesIn: 300, bytesOut: 25 });
  traffic.look(14_000, 100);
  come(1000, 1000);
  expect(traffic.rates(14_001, 900)).toEqual({ messagesIn: 5, messagesOut: 10, bytesIn: 150, bytesOut: 25 });
  traffic.look(19_000, 600);
  expect(traffic.rates(20_000, 900)).toEqual({ messagesIn: 200, messagesOut: 400, bytesIn: 200, bytesOut: 100 });
  traffic.look(24_000, 600);
  expect(traffic.rates(25_000, 600)).toEqual({ messagesIn: 0, messagesOut: 0, bytesIn: 0, bytesOut: 0 });
});
