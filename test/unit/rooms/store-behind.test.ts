/** A store that is behind: it holds connections whose packets make work for it, and no others. */
import { expect, test } from "bun:test";
import { type Flows, Inbound } from "../../../src/broker/inbound.ts";
import { nearClient } from "../../support/near-client.ts";
import { bytesOf } from "../../support/packet-bytes.ts";
import { room } from "../../support/room.ts";

test("a client that acknowledges without a mailbox, or pings, is read on; one with a mailbox is held", () => {
  const { context, session } = room();
  let held = 0;
  const inbound = new Inbound(context, {
    publishHandler: { flush: () => {} },
    backPressure: { holdIfBehind: () => false },
    storeBackPressure: { hold: () => held++ },
  } as unknown as Flows);
  const { connection } = nearClient(context.turn);
  connection.channel.open();
  const [pingreq, puback] = ["c000", "40020001"];
  connection.client = session("brief");
  inbound.receive(connection, bytesOf(`${pingreq}${puback}`));
  expect(held).toBe(0);
  connection.client = session("lasting", 1000);
  inbound.receive(connection, bytesOf(pingreq));
  expect(held).toBe(0);
  inbound.receive(connection, bytesOf(puback));
  expect(held).toBe(1);
});
