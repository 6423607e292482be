/**
 * `bun run test:faults`: does the net catch fish? Plants one fault at a time in a copy of the tree, runs the
 * tests that must notice, and fails if any of them stays green. Some faults need many seeds of the simulation: the whole takes up to an hour.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface Fault {
  readonly what: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** The tests that must turn red. */
  readonly tests: string;
  /** The tests run the executable. */
  readonly needsBuild?: true;
}

const faults: readonly Fault[] = [
  {
    what: "ack before commit",
    file: "src/broker/promise.ts",
    find: "      settlement.done();\n    };\n    const withdraw",
    replace: "    };\n    queueMicrotask(() => settlement.done());\n    const withdraw",
    tests: "test/chaos/kill.test.ts",
    needsBuild: true,
  },
  {
    what: "the id of an incoming QoS 2 message is not committed",
    file: "src/broker/publishing.ts",
    find: "if (client.mailbox === undefined) return;\n    const path",
    replace: "if (client.mailbox !== undefined || client.mailbox === undefined) return;\n    const path",
    tests: "test/chaos/kill.test.ts",
    needsBuild: true,
  },
  {
    what: "new messages overtake the mailbox",
    file: "src/broker/promise.ts",
    find: "client.mailbox!.isEmpty && client.hasRoom",
    replace: "client.hasRoom",
    tests: "test/broker/session.test.ts test/simulation/simulation.test.ts",
  },
  {
    what: "a retained message is not written to the store",
    file: "src/broker/retaining.ts",
    find: 'return [...checks, { kind: "put", path,',
    replace: 'if (exists || !exists) return [];\n    return [...checks, { kind: "put", path,',
    tests: "test/broker/session.test.ts",
  },
  {
    what: "cached routes outlive an unsubscription",
    file: "src/router/router.ts",
    find: "if (this.#trie.remove(subscriber, subscription)) this.#generation++;",
    replace: "this.#trie.remove(subscriber, subscription);",
    tests: "test/unit/router.test.ts",
  },
  {
    what: "acks leave as they settle, not in the order of the publishes",
    file: "src/session/owed-acks.ts",
    find: "ack.settled = true;",
    replace: "ack.settled = true;\n    writeVerdict(sink, ack.type, ack.packetId, ack);",
    tests: "test/unit/session.test.ts",
  },
  {
    what: "the writer forgets what the kernel did not take",
    file: "src/net/writer.ts",
    find: "        this.#blocked = true;\n        return;",
    replace: "        this.#sent = this.#length;",
    tests: "test/unit/store.test.ts",
  },
  {
    what: "a will is published though its client has left",
    file: "src/broker/sessions.ts",
    find: 'if (how === "abnormally") this.#wills',
    replace: "if (how !== undefined) this.#wills",
    tests: "test/broker/retained-and-wills.test.ts",
  },
  {
    what: "unacknowledged shared messages stay with the member that left",
    file: "src/broker/sessions.ts",
    find: "if (target === undefined || !isThere(target.subscriber)) return false;",
    replace: "if (target === undefined || isThere(target.subscriber)) return false;",
    tests: "test/broker/mqtt5.test.ts",
  },
  {
    what: "packet identifier 0 is let through",
    file: "src/mqtt/publish.ts",
    find: "if (to.packetId === 0) throw",
    replace: "if (to.packetId < 0) throw",
    tests: "test/broker/malformed.test.ts",
  },
  {
    what: "mail from another broker is not heard of",
    file: "src/broker/slip-names.ts",
    find: "this.#heard.add(name);",
    replace: "if (name === undefined) this.#heard.add(name);",
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "new messages overtake those that wait for a session on the move",
    file: "src/broker/forwarding.ts",
    find: "if (session.moving.length > 0 || (session.underWay > 0 && !isSameWay)) return",
    replace: "if (session.underWay < 0) return",
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "another broker is not another way for a session on the move",
    file: "src/broker/forwarding.ts",
    find: 'const isSameWay = session.way === way && (way === "mail" || session.wayHandle === session.handle);',
    replace: 'const isSameWay = (session.way === "mail") === (way === "mail");',
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "what is under way to a session is overtaken where it is taken over",
    file: "src/broker/directory.ts",
    find: "    this.onAdopted(remote);\n",
    replace: "",
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "a session is let go of before its mail is in",
    file: "src/broker/directory.ts",
    find: "    this.onReleased(remote);\n",
    replace: "",
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "a refused publish leaves its slips waiting",
    file: "src/broker/promise.ts",
    find: "refused && withdraw",
    replace: "refused && (() => refused())",
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "a broker that has slept brings back old messages",
    file: "src/broker/publishing.ts",
    find: "client.mailbox === undefined ? undefined : { check: checkOf(client.owned), isRevoked };",
    replace: "isRevoked() ? undefined : undefined;",
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "a QoS 2 message overtakes one whose commit is in doubt",
    file: "src/broker/mailbox.ts",
    find: "const mustWait = outgoing.packetId !== 0 && this.#loading;",
    replace: "const mustWait = false;",
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "a mailbox numbers its slips from 0 again",
    file: "src/mail/levels.ts",
    find: " && !isMailbox(path)",
    replace: "",
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "a watch is registered after its part of the tree was read",
    file: "src/broker/mirror.ts",
    find: "    this.#unwatch = this.#coordinator.watch(this.#options.root, (event) => this.#hear(event));\n    await this.#read();",
    replace: "    await this.#read();\n    this.#coordinator.watch(this.#options.root, (event) => this.#hear(event));",
    tests: "test/unit/mirror.test.ts",
  },
  {
    what: "interest that nobody has any more is not taken back",
    file: "src/broker/directory.ts",
    find: "    this.#interest.delete(text);\n",
    replace: "    this.#interest.delete(text);\n    if (text !== undefined) return [];\n",
    tests: "test/cluster/cluster.test.ts",
  },
  {
    what: "a branch spends what it does not have",
    file: "src/bank/branch.ts",
    find: "    if (credits > this.free) return undefined;\n",
    replace: "",
    tests: "test/unit/bank.test.ts",
  },
  {
    what: "what was set aside for a publish is never free again",
    file: "src/mail/settlement.ts",
    find: "    this.payment?.close();\n",
    replace: "",
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "the vault forgets what it has granted",
    file: "src/bank/accounts.ts",
    find: "withVault(vault, -moved)",
    replace: "withVault(vault, 0)",
    tests: "test/unit/bank.test.ts",
  },
  {
    what: "what waits for a session is stored though its publisher has moved on",
    file: "src/broker/forwarding.ts",
    find: "guard === undefined ? operations : [guard, ...operations], done, guard && refused",
    replace: "operations, done",
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "half-received publishes are read before the session is this broker's",
    file: "src/broker/connecting.ts",
    find: "isRead ? (): void => this.takeOver.readIncoming(found, enter) : enter",
    replace: "enter",
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "what a dead broker had not settled is not stored",
    file: "src/broker/forwarding.ts",
    find: "      this.#store(settlement, [...sessions.values()]);\n      for",
    replace: "      for",
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "a refused unit is tried again behind what came after it",
    file: "test/simulation/keeper.ts",
    find: "          writes = repair?.(refusal);",
    replace:
      "          const instead = repair?.(refusal);\n          if (instead !== undefined) return void this.#keeper.options.scheduler.after(5, () => this.write(instead, done, repair));\n          break;",
    tests: "test/simulation/simulation.test.ts",
  },
  {
    what: "SUBACK does not wait for the other brokers",
    file: "src/broker/subscribing.ts",
    find: "(_, zxid) => this.#fences.pass(zxid, send)",
    replace: "() => send()",
    tests: "test/cluster/cluster.test.ts",
  },
  {
    what: "a mail drop begins with what comes",
    file: "src/broker/mail-drops.ts",
    find: "retainHandling === 2 ?",
    replace: "retainHandling !== undefined ?",
    tests: "test/broker/mail-drops.test.ts",
  },
  {
    what: "how far a session has come in a mail drop is not committed with its slips",
    file: "src/broker/mailbox.ts",
    find: "[...operations, saving]",
    replace: 'saving.kind === "put" ? operations : []',
    tests: "test/simulation/variants.test.ts",
  },
  {
    what: "what lies in a mail drop is handed out before all of it is known",
    file: "src/broker/drop-feed.ts",
    find: " && this.#shelf.isComplete &&",
    replace: " &&",
    tests: "test/simulation/variants.test.ts",
  },
  {
    what: "what lies in a mail drop is handed out as it was found",
    file: "src/broker/shelf.ts",
    find: ".sort((a, b) => (isAfter(a, b) ? 1 : -1))",
    replace: "",
    tests: "test/broker/mail-drops.test.ts test/simulation/variants.test.ts",
  },
  {
    what: "a live path beside the mail drop",
    file: "src/broker/fanout.ts",
    find: "    if (!route.isMailDrop) {\n      for (const target of route.targets) promise",
    replace: "    if (route !== undefined) {\n      for (const target of route.targets) promise",
    tests: "test/broker/mail-drops.test.ts",
  },
  {
    what: "a message is stored before its parts",
    file: "src/mail/mail.ts",
    find: "for (const piece of pieces) this.#journal.commit([this.#ledger.guard(), piece]);",
    replace:
      "queueMicrotask(() => { for (const piece of pieces) this.#journal.commit([this.#ledger.guard(), piece]); });",
    tests: "test/simulation/variants.test.ts",
  },
  {
    what: "parts stay when their message goes",
    file: "src/mail/slips.ts",
    find: "if (hasParts) this.removeParts",
    replace: 'if (hasParts && path === "") this.removeParts',
    tests: "test/cluster/large.test.ts",
  },
  {
    what: "parts that no message names are not swept",
    file: "src/broker/teller.ts",
    find: "slips.removeParts(id);",
    replace: "void slips;",
    tests: "test/simulation/steps.test.ts",
  },
  {
    what: "what was retained while everything was read anew is missed",
    file: "src/broker/mirror.ts",
    find: "    this.#known.add(path);\n    this.#unseen.delete(path);",
    replace: "    this.#known.add(path);",
    tests: "test/simulation/steps.test.ts",
  },
];

const root = join(import.meta.dir, "../..");

function run(command: readonly string[], cwd: string): number {
  const env = { ...process.env, MQTTZOO_KILLS: "30", MQTTZOO_SEEDS: "2500", MQTTZOO_STEPS: "6" };
  return Bun.spawnSync([...command], { cwd, env, stdin: "ignore", stdout: "ignore", stderr: "ignore" }).exitCode;
}

function isCaught(fault: Fault): boolean {
  const copy = mkdtempSync(join(tmpdir(), "mqttzoo-fault-"));
  try {
    for (const part of ["src", "cli", "test", "package.json", "bunfig.toml", "tsconfig.json"])
      cpSync(join(root, part), join(copy, part), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    const path = join(copy, fault.file);
    const text = readFileSync(path, "utf8");
    if (!text.includes(fault.find)) throw new Error(`${fault.what}: ${fault.file} no longer has the place to plant it`);
    writeFileSync(path, text.replace(fault.find, fault.replace));
    if (fault.needsBuild && run([process.execPath, "test/tools/build.ts"], copy) !== 0)
      throw new Error(`${fault.what}: does not build`);
    return run([process.execPath, "test", "--timeout", "60000", ...fault.tests.split(" ")], copy) !== 0;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

let missed = 0;
/** `bun run test:faults WORD`: only those whose description holds the word. */
const word = process.argv[2] ?? "";
const chosen = faults.filter(({ what }) => what.includes(word));
for (const fault of chosen) {
  const caught = isCaught(fault);
  if (!caught) missed++;
  console.log(`${caught ? "caught" : "MISSED"}  ${fault.what}`);
}
console.log(`\n${chosen.length - missed} caught, ${missed} missed`);
process.exit(missed === 0 ? 0 : 1);
