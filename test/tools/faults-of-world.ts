/** Faults that the wide world of the simulation has found. */
import type { Fault } from "./faults.ts";

export const faults: readonly Fault[] = [
  {
    what: "a client that connects again makes the store refuse what it published before, and what waits behind a large message",
    file: "src/mail/held-paths.ts",
    find: "      return this.#checked.has(operation.path) ||",
    replace: "      return this.#checked.has(operation.kind) ||",
    tests: "test/unit/parked.test.ts",
  },
  {
    what: "world: what contact was lost over is sent again as it was, however late",
    file: "src/zookeeper/submissions.ts",
    find: "return instead === undefined ? submission : makeWrite(instead, done, repair);",
    replace: "return instead === null ? makeWrite([], done, repair) : submission;",
    tests: "test/simulation/ensemble.test.ts",
  },
  {
    what: "world: what has waited for its levels without contact is sent as it was",
    file: "src/mail/journal.ts",
    find: "if (hasWaited) for (const unit of",
    replace: "if (hasWaited === undefined) for (const unit of",
    tests: "test/simulation/stale.test.ts",
  },
  {
    what: "world: a CONNECT whose client has gone elsewhere takes the will that it has there",
    file: "src/broker/connect/handle-connect.ts",
    find: 'connection.channel.phase === "connecting" && !isStale();',
    replace: 'connection.channel.phase !== "new";',
    tests: "test/simulation/stale.test.ts",
  },
  {
    what: "world: a broker that is the only one forgets who was back while it had no contact",
    file: "src/broker/connect/orphaned-wills.ts",
    find: "if (coordinator.isAlone === true) return;",
    replace: "if (this.#context.peers.size === 0) return;",
    tests: "test/simulation/wills.test.ts",
  },
  {
    what: "world: what was said in the name of a session counts for the one that was begun anew",
    file: "src/mail/journal.ts",
    find: "    this.#lease++;",
    replace: "    this.#lease += 0;",
    tests: "test/simulation/stale.test.ts",
  },
  {
    what: "world: what a client that has gone was not acknowledged replaces a newer retained message",
    file: "src/broker/publish/retained-store.ts",
    find: "losses === this.#losses || isAwaited();",
    replace: "losses >= 0 || isAwaited();",
    tests: "test/simulation/stale.test.ts",
  },
  {
    what: "world: what was decided on under a lease goes on after it, where the keeper session does",
    file: "src/broker/cluster/cluster.ts",
    find: "    self.fences++;\n    journal.leaseLost();",
    replace: "    self.fences++;\n    if (self.fences < 0) journal.leaseLost();",
    tests: "test/simulation/older-lease.test.ts",
  },
  {
    what: "world: an orphaned will is taken for the one that its client has left since",
    file: "src/broker/connect/orphaned-wills.ts",
    find: 'kind: "check", path, version: () => version, ofLease: true };',
    replace: 'kind: "check", path, version: () => version };',
    tests: "test/simulation/older-lease.test.ts",
  },
  {
    what: "world: a subscription that was nobody's is removed when its client has begun anew",
    file: "src/broker/cluster/adoption.ts",
    find: 'journal.commit([vacant, ...page, { kind: "take", path }],',
    replace: "if (vacant.path === path) journal.commit(page,",
    tests: "test/simulation/older-lease.test.ts",
  },
  {
    what: "world: a retained message that has expired is taken for one that is retained since",
    file: "src/broker/publish/retained-store.ts",
    find: 'kind: "check", path, version: () => version, ofLease: true };',
    replace: 'kind: "check", path, version: () => version };',
    tests: "test/simulation/older-lease.test.ts",
  },
  {
    what: "world: a teller that has slept settles accounts by what it had counted before",
    file: "src/broker/cluster/sweeper.ts",
    find: "=> self.fences === fences;",
    replace: "=> self.fences >= fences;",
    tests: "test/simulation/older-lease.test.ts",
  },
];
