/**
 * The product's ZooKeeper client on the simulated ensemble keeps the contract: what the simulation finds is what
 * ZooKeeper would do.
 */
import { keeperPacketBytesMax } from "../../src/base/store-limits.ts";
import type { Transport } from "../../src/net/transport.ts";
import { systemDoors } from "../../src/zookeeper/options.ts";
import { ZooKeeperCoordinator } from "../../src/zookeeper/zookeeper-coordinator.ts";
import { Ensemble } from "../simulation/ensemble/ensemble.ts";
import { Wire } from "../simulation/wire.ts";
import { seeded } from "../simulation/world.ts";
import { eventually } from "../support/broker.ts";
import { coordinatorContract } from "./coordinator.ts";

/** Time that was skipped, in ms: as if it had passed. */
let skippedMs = 0;
const scheduler = {
  now: () => performance.now() + skippedMs,
  // Most of it takes no time: a timer for each would.
  after: (ms: number, run: () => void) => void (ms < 0.5 ? setImmediate(run) : setTimeout(run, ms).unref()),
  latency: () => 0,
};

/** Far longer than a busy machine keeps a session's owner from its heartbeats. */
const sessionTimeoutMs = 60_000;

coordinatorContract("simulated ensemble of three", async () => {
  const ensemble = new Ensemble({
    scheduler,
    random: seeded(1),
    latency: () => 0,
    wall: () => Date.now(),
    voters: 3,
    observers: 0,
    packetBytesMax: keeperPacketBytesMax,
    transactionBytesMax: 2 * keeperPacketBytesMax,
    syncMs: 100,
    sequenceStart: 0,
  });
  let ids = 0;
  let last: ZooKeeperCoordinator;
  return {
    async connect() {
      last = await ZooKeeperCoordinator.open({
        connect: ensemble.connect,
        id: `id-${++ids}`,
        sessionTimeoutMs,
        onFatal: (error) => {
          throw error;
        },
        doors: {
          ...systemDoors,
          async dial({ host }, events) {
            const wire = new Wire(scheduler);
            const transport: Transport = wire.transport(0, host);
            const connection = ensemble.server(host).accept(wire.transport(1, "client"));
            wire.attach(0, {
              received: (bytes) => events.received(transport, bytes),
              closed: (why) => events.closed(transport, why),
            });
            wire.attach(1, { received: (bytes) => connection.received(bytes), closed: () => connection.closed() });
            return transport;
          },
        },
      });
      return last;
    },
    async crash() {
      const { sessionId } = last.client;
      last.terminate();
      skippedMs += 2 * sessionTimeoutMs;
      await eventually(() => !ensemble.hasSession(sessionId), "the session expires");
    },
  };
});
