/** Faults in what is taken over from other brokers: each would let in who was kept out, or lose what was kept. */
import type { Fault } from "./faults.ts";

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
];
