/** The simulated keeper keeps the contract too: what the simulation finds is what ZooKeeper would do. */
import { type KeeperClient, SimulatedKeeper } from "../simulation/keeper.ts";
import { coordinatorContract } from "./coordinator.ts";

const scheduler = {
  now: () => performance.now(),
  after: (ms: number, run: () => void) => void setTimeout(run, ms).unref(),
};

coordinatorContract("simulated keeper", async () => {
  const keeper = new SimulatedKeeper({ scheduler, latency: () => 0, sessionTimeoutMs: 300 });
  let last: KeeperClient;
  return {
    async connect() {
      last = keeper.connect();
      return last;
    },
    crash: () => new Promise<void>((ended) => last.crash(ended)),
  };
});
