/**
 * Faults in what brokers hold in memory of the store: answers that are older than what is known, and mail that is
 * forgotten.
 */
import type { Fault } from "./faults.ts";

const retained = "test/simulation/retained.test.ts";
const room = "test/unit/rooms/retained-store.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "mirrors: an answer is applied though this broker has begun to write",
    file: "src/coordinator/mirror.ts",
    find: "    if (!this.#options.concerns(path)) return;\n    this.note",
    replace: "    this.note",
    tests: retained,
  },
  {
    what: "mirrors: what is not known here is not cleared",
    file: "src/broker/publish/retained-store.ts",
    find: "if (!isKnown && coordinator.isAlone && ",
    replace: "if (!isKnown && ",
    tests: room,
  },
  {
    what: "mirrors: a commit whose answer was lost counts as if nothing could have come between",
    file: "src/mail/journal.ts",
    find: 'how: results === undefined ? "doubted" : "committed"',
    replace: 'how: "committed"',
    tests: "test/unit/parked.test.ts",
  },
  {
    what: "mirrors: a level whose message was cleared stays when those below it go",
    file: "src/broker/publish/retained-store.ts",
    find: "        this.#sweep.note(path);\n",
    replace: "",
    tests: room,
  },
  {
    what: "mirrors: a parked message comes back after it was cleared",
    file: "src/mail/journal.ts",
    find: "      leaveOut(unit);\n      this.#submit(unit);",
    replace: "      this.#submit(unit);",
    tests: "test/unit/parked.test.ts",
  },
  {
    what: "mirrors: who waits for the journal waits for what came later, too",
    file: "src/mail/journal.ts",
    find: "      if (oldest !== undefined && oldest.number <= barrier.upTo) return;",
    replace: "      if (oldest !== undefined) return;",
    tests: "test/unit/parked.test.ts",
  },
  {
    what: "mirrors: what is refused of a group is found out one by one",
    file: "src/zookeeper/zookeeper-coordinator.ts",
    find: "if (this.#refusals < 2 || isTooLarge)",
    replace: "if (this.#refusals < Infinity || isTooLarge)",
    tests: "test/zookeeper/refusals.test.ts",
  },
  {
    what: "mirrors: a path that ZooKeeper refuses is foreseen to be missing",
    file: "src/zookeeper/foresight.ts",
    find: 'if (!mayBeLookedFor(operation)) return "InvalidPath";',
    replace: "",
    tests: "test/zookeeper/refusals.test.ts -t one.by.one",
  },
  {
    what: "mirrors: what follows from an earlier submission of the group is repaired as if that had been committed",
    file: "src/zookeeper/foresight.ts",
    find: "for (const operation of write.operations) before.apply(operation);",
    replace: "",
    tests: "test/zookeeper/refusals.test.ts",
  },
  {
    what: "mirrors: nobody looks after a session that is forgotten",
    file: "src/broker/delivery/mail-watch.ts",
    find: "    mailbox.load();",
    replace: "",
    tests: "test/unit/rooms/delivery.test.ts",
  },
  {
    what: "mirrors: each slip in doubt is searched for by itself",
    file: "src/mail/slip-search.ts",
    find: "    for (const slip of this.#searches.get(clientId)!) {\n      const same = wanted.get(slip.messagePath);\n      if (same === undefined) wanted.set(slip.messagePath, [slip]);\n      else same.push(slip);\n    }\n    this.#searches.set(clientId, []);\n",
    replace:
      "    const [slip] = this.#searches.get(clientId)!.splice(0, 1);\n    wanted.set(slip!.messagePath, [slip!]);\n",
    tests: "test/unit/slip-search.test.ts",
  },
  {
    what: "mirrors: what is told of a session kept here is left aside, whoever has done it",
    file: "src/broker/peers/subscription-directory.ts",
    find: "if (!isOwn) this.#context.evict(client);",
    replace: "void isOwn;",
    tests: "test/simulation/released.test.ts",
  },
  {
    what: "mirrors: what was left aside before a session was lost is not read",
    file: "src/broker/peers/subscription-directory.ts",
    find: 'if (state === "CONNECTED") this.#mirror.refresh(path);',
    replace: "void state;",
    tests: "test/simulation/released.test.ts",
  },
  {
    what: "mirrors: who subscribes gets what is held here, though others have been acknowledged newer messages",
    file: "src/broker/publish/catching-up.ts",
    find: "    this.#waiting.push(done);\n",
    replace: "    done();\n",
    tests: "test/unit/rooms/publish.test.ts",
  },
  {
    what: "late: nothing is said again where a retained message came late",
    file: "src/broker/peers/forwarding.ts",
    find: "    this.#retainedLate(peer, publish);",
    replace: "    if (publish.retain === undefined) this.#retainedLate(peer, publish);",
    tests: "test/simulation/late-words.test.ts",
  },
  {
    what: "late: it is looked once only what is retained",
    file: "src/broker/publish/late-retained.ts",
    find: "    timers.set(timer, clock.now() + retainedLookMs);",
    replace: "    void [timer, timers, clock, retainedLookMs];",
    tests: "test/simulation/late-words.test.ts",
  },
  {
    what: "late: what remains is not late",
    file: "src/broker/peers/forwarding.ts",
    find: "    this.#checkLate(peer, forwarded);\n    settlement.done();",
    replace: "    settlement.done();",
    tests: "test/simulation/late-words.test.ts",
  },
];
