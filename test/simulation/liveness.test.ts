/** A session that is forgotten: the checker sees it, and the broker finds it by itself and reads its mailbox. */
import { expect, test } from "bun:test";
import { History } from "../chaos/history.ts";
import { Actor, PublishingActor } from "./actors.ts";
import { Liveness } from "./liveness.ts";
import { World } from "./world.ts";

const stores = [
  ["the keeper at the port", undefined],
  ["an ensemble", {}],
] as const;

test.each(stores)(
  "mail that was not heard of is seen by the checker, and found by the broker: at %s",
  async (_, ensemble) => {
    const world = new World(3, { bankCapital: 1_000_000, ensemble });
    for (const id of ["a", "b"]) await world.node(id).startIn(world);
    const history = new History();
    const liveness = new Liveness(world);
    const subscriber = new Actor("s", { world, history, subscribe: "sim/#" });
    const publisher = new PublishingActor("p", { world, history, qos: 2 });
    for (const actor of [subscriber, publisher]) actor.live();
    await world.pass(5000, () => subscriber.isReady && publisher.isReady);
    const homeOf = (name: string) =>
      [...world.nodes.values()].find(
        ({ broker }) => broker?.context.localSessions.get(name)?.connection !== undefined,
      )!;
    for (let hops = 0; homeOf("p") === homeOf("s") && hops < 50; hops++) {
      publisher.hop();
      await world.pass(1000, () => publisher.isReady);
    }
    expect(homeOf("p")).not.toBe(homeOf("s"));
    // What the other broker stores is not heard of.
    const mailbox = homeOf("s").broker!.context.localSessions.get("s")!.mailbox!;
    mailbox.slipAdded = () => {};
    publisher.isBusy = true;
    publisher.work();
    await world.pass(1000);
    publisher.isBusy = false;
    const isReceived = (): boolean => history.judge("s").length === 0;
    await world.pass(9000);
    expect(history.acknowledgedCount).toBeGreaterThan(3);
    expect(isReceived()).toBe(false);
    expect(liveness.end()[0]).toContain("s is forgotten");
    expect(await world.pass(30_000, isReceived)).toBe(true);
  },
);
