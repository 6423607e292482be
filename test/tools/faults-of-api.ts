/** Faults of the HTTP API that the tests must notice. */
import type { Fault } from "./faults.ts";

const people = "test/broker/api-people.test.ts";
const one = "test/broker/api.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "api: a page of another origin changes things",
    file: "src/api/api.ts",
    find: 'method !== "GET" && isFromElsewhere(header)',
    replace: 'method === "HEAD" && isFromElsewhere(header)',
    tests: people,
  },
  {
    what: "api: a name that was made to point here is believed",
    file: "src/api/people.ts",
    find: 'host !== null && !isLoopback(host.replace(/:\\d*$/, ""))',
    replace: 'host === ""',
    tests: people,
  },
  {
    what: "api: a viewer changes things",
    file: "src/api/api.ts",
    find: 'if (role === "operator" && caller.role !== "operator")',
    replace: 'if (role === "operator" && caller.name === "")',
    tests: people,
  },
  {
    what: "api: wrong passwords ban nobody",
    file: "src/api/people.ts",
    find: "        this.#bans.failed(contender, clock.now());\n",
    replace: "",
    tests: people,
  },
  {
    what: "api: a token outlives its user",
    file: "src/api/people.ts",
    find: "if (role !== undefined && isValid)",
    replace: "if (isValid || role === undefined)",
    tests: people,
  },
  {
    what: "api: a change that was refused is not in the audit log",
    file: "src/api/api.ts",
    find: "return note(why ?? (read as Problem));",
    replace: "return done(why ?? (read as Problem));",
    tests: people,
  },
  {
    what: "api: a page leaves out what has the same value as the last one before",
    file: "src/api/page.ts",
    find: "compare(a.by, b.by) || compare(a.name, b.name)",
    replace: "compare(a.by, b.by)",
    tests: one,
  },
  {
    what: "api: levels are left out that may be on the page",
    file: "src/api/topic-levels.ts",
    find: "names.slice(0, this.#wanted.limit + 2)",
    replace: "names.slice(0, this.#wanted.limit - 1)",
    tests: one,
  },
  {
    what: "api: a retained message is cleared though it was only asked which match",
    file: "src/api/acting-on-messages.ts",
    find: "if (dry_run)",
    replace: "if (dry_run && topics.length === 0)",
    tests: "test/broker/api-changes.test.ts",
  },
  {
    what: "api: a session that the operator ends stays in the store",
    file: "src/broker/connect/session-end.ts",
    find: "      sessionStore.erase(client, () => {});\n",
    replace: "      localSessions.delete(clientId);\n",
    tests: "test/broker/api-changes.test.ts",
  },
  {
    what: "api: the operator publishes what the bank cannot pay for",
    file: "src/broker/publish/publish-by-operator.ts",
    find: 'if ("why" in admitted) return done(admitted.why);',
    replace: 'if ("why" in admitted) return done(undefined);',
    tests: "test/broker/api-changes.test.ts",
  },
  {
    what: "api: a list is walked in one turn",
    file: "src/api/page.ts",
    find: "if (++seen % stepCandidates === 0) yield;",
    replace: "seen++;",
    tests: "test/broker/api-many.test.ts",
  },
  {
    what: "api: a broker of an earlier version is asked, which closes the link",
    file: "src/broker/peers/questions.ts",
    find: "if (facts?.answersQuestions !== true)",
    replace: "if (facts === undefined)",
    tests: "test/cluster/api.test.ts",
  },
  {
    what: "api: a page of several brokers leaves out what one has more of",
    file: "src/api/page.ts",
    find: "ends[0] === undefined ? known :",
    replace: "ends.length >= 0 ? known :",
    tests: "test/unit/api-pages.test.ts",
  },
  {
    what: "api: others may open the socket of a broker that runs alone",
    file: "src/net/http.ts",
    find: "    closeToOthers(path);\n",
    replace: "",
    tests: "test/cli/clients.test.ts",
    needsBuild: true,
  },
  {
    what: "api: what the client may hold is dropped with its packet id",
    file: "src/broker/delivery/mailbox.ts",
    find: 'if (slip.record?.state !== "waiting") return false;',
    replace: "if (slip.record === undefined) return false;",
    tests: "test/broker/api-changes.test.ts",
  },
  {
    what: "api: the mailbox of a client is dropped that is being sent it",
    file: "src/server/api-mailbox.ts",
    find: "if (client.connection === undefined) return undefined;",
    replace: "if (client.connection !== null) return undefined;",
    tests: "test/broker/api-changes.test.ts",
  },
];
