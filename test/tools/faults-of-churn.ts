/** Faults in what devices that come and go leave behind, and in what they make the store do. */
import type { Fault } from "./faults.ts";

const devices = "test/broker/churn.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "churn: what may be there of a session is removed unseen",
    file: "src/broker/erasing.ts",
    find: "filter((path) => names.includes(path.slice(client.owned.path.length + 1)))",
    replace: "filter(() => true)",
    tests: devices,
  },
  {
    what: "churn: a session that has expired never gives up its turn",
    file: "src/broker/erasing.ts",
    find: "    this.#expiring--;\n",
    replace: "",
    tests: devices,
  },
];
