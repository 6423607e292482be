/** Faults in what stands against guessing: each would give somebody more tries, or tell him which names there are. */
import type { Fault } from "./faults.ts";

const bans = "test/unit/bans.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "guessing: a good login forgets the failures before",
    file: "src/access/bans.ts",
    find: "    const key = knownKey(username, address);\n    this.#known.delete(key);",
    replace:
      "    const key = knownKey(username, address);\n    this.#failures.address.delete(networkOf(address));\n    this.#known.delete(key);",
    tests: bans,
  },
  {
    what: "guessing: from many addresses as often as one likes",
    file: "src/access/bans.ts",
    find: 'if (username !== undefined && this.#count("user", username, now)) banned.push("user");',
    replace: "void username;",
    tests: bans,
  },
  {
    what: "guessing: strangers lock a user out at home",
    file: "src/access/bans.ts",
    find: "return !this.#known.has(knownKey(username, address));",
    replace: "return true;",
    tests: bans,
  },
  {
    what: "guessing: a ban does not hold for connections that are open",
    file: "src/broker/connect/admission.ts",
    find: "if (!this.#bans.isBanned({ address, username }, this.#context.clock.now())) return false;",
    replace: "if (address !== '' || username !== '') return false;",
    tests: "test/broker/limits.test.ts",
  },
  {
    what: "guessing: a right guess is told after the ban",
    file: "src/broker/connect/admission.ts",
    find: "    if (this.#isBanned(connection, username)) return;\n    if (verdict.kind",
    replace: "    if (verdict.kind",
    tests: "test/unit/rooms/connect.test.ts",
  },
  {
    what: "guessing: a name that is nobody's is told by the time",
    file: "src/access/access.ts",
    find: "await isPasswordOf(this.#hashes[at] ?? (await this.#decoy!), password);",
    replace: "await isPasswordOf(await (this.#decoy ??= hashPassword('x')), password);",
    tests: bans,
  },
  {
    what: "guessing: a name that is nobody's is told by an empty password",
    file: "src/access/access.ts",
    find: "if (password !== undefined && password.length > 0) await this.#fitDecoy",
    replace: "if (password !== undefined) await this.#fitDecoy",
    tests: bans,
  },
  {
    what: "guessing: a name that is nobody's is told by SCRAM's salt",
    file: "src/server/server.ts",
    find: "  server.decoySecret = decoySecretOf(secret);\n",
    replace: "  void decoySecretOf(secret);\n",
    tests: "test/broker/limits.test.ts",
  },
  {
    what: "guessing: a name that is nobody's is told by SCRAM's iterations",
    file: "src/access/scram.ts",
    find: "const [most] = [...counts].sort(([, a], [, b]) => b - a);",
    replace: "const [most] = [...counts].slice(counts.size);",
    tests: bans,
  },
  {
    what: "lasting bans: who is connected stays",
    file: "src/broker/connect/admission.ts",
    find: "if (connection !== undefined) this.#endIfBanned(connection, client);",
    replace: "void this.#endIfBanned;",
    tests: "test/broker/lasting-bans.test.ts",
  },
  {
    what: "lasting bans: a client comes in by its id all the same",
    file: "src/access/ban-list.ts",
    find: '(clientId !== undefined && this.#names.has(keyOf({ kind: "client", name: clientId }))) ||',
    replace: "",
    tests: "test/unit/ban-list.test.ts",
  },
  {
    what: "lasting bans: an administrator's word is forgotten at the next start",
    file: "src/server/admin-bans.ts",
    find: "  replaceText(banFile, list);\n",
    replace: "  void replaceText;\n",
    tests: "test/broker/lasting-bans.test.ts",
  },
  {
    what: "guessing: chance can be worked out from what was seen of it",
    file: "src/base/random.ts",
    find: "    if (left < 2) left",
    replace: "    if (Math.random() >= 0) return Math.random();\n    if (left < 2) left",
    tests: "test/unit/random.test.ts",
  },
  {
    what: "guessing: a number takes a word that is not there",
    file: "src/base/random.ts",
    find: "    if (left < 2) left",
    replace: "    if (left === 0) left",
    tests: "test/unit/random.test.ts",
  },
];
