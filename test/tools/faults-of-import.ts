/** Faults in what is taken over from other brokers: each would let in who was kept out, or lose what was kept. */
import type { Fault } from "./faults.ts";

const store = "test/cli/import-store.test.ts";
const database = "test/unit/mosquitto-database.test.ts";
const config = "test/unit/mosquitto-config.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "import: a listener with pre-shared keys is opened to whoever comes",
    file: "src/mosquitto/listeners.ts",
    find: '    return without("there are no pre-shared keys");\n',
    replace: "    return true;\n",
    tests: config,
  },
  {
    what: "import: one listener that lets in who has no name opens all",
    file: "src/mosquitto/translate.ts",
    find: "if (anonymous.length === listeners.length)",
    replace: "if (anonymous.length > 0)",
    tests: config,
  },
  {
    what: "import: a broker where nobody could log in becomes one for everybody",
    file: "src/mosquitto/translate.ts",
    find: 'isClosed: !proves && !options.has("allow-anonymous")',
    replace: "isClosed: false",
    tests: config,
  },
  {
    what: "import: certificates are required where the last listener requires them",
    file: "src/mosquitto/listeners.ts",
    find: 'const requires = secure.some((listener) => isOn(listener, "require_certificate"));',
    replace: 'const requires = isOn(secure.at(-1)!, "require_certificate");',
    tests: config,
  },
  {
    what: "import: a message that its client may have already is sent under another packet id",
    file: "src/mosquitto/plan.ts",
    find: "packetId: mayHaveIt ? packetId : 0",
    replace: "packetId: 0 * packetId * Number(mayHaveIt)",
    tests: store,
    needsBuild: true,
  },
  {
    what: "import: the packet id of a message that was received and not released is forgotten",
    file: "src/server/import-store.ts",
    find: "    context.journal.commit(holdId(context, client, { publish: held, payment }));\n",
    replace: "    void holdId;\n",
    tests: store,
    needsBuild: true,
  },
  {
    what: "import: messages of a client go in the order of their ids",
    file: "src/mosquitto/plan.ts",
    find: "    if (message <= (last.get(clientId) ?? -1n)) isOut.add(clientId);\n",
    replace: "",
    tests: database,
  },
  {
    what: "import: retained messages are sent to the sessions that come over",
    file: "src/server/import-store.ts",
    find: "rh: notRetained",
    replace: "rh: 0 * notRetained",
    tests: store,
    needsBuild: true,
  },
  {
    what: "import: a length in the file is believed",
    file: "src/mosquitto/database.ts",
    find: "    if (length > this.#bytes.length) throw",
    replace: "    if (length < 0) throw",
    tests: database,
  },
];
