/** Faults in how HTTP of old and odd programs is taken: probes are told that the broker is broken, or hang. */
import type { Fault } from "./faults.ts";

const tests = "test/broker/http.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "HTTP: without a host there is no path",
    file: "src/net/http.ts",
    find: 'const whole = url.startsWith("/") ?',
    replace: 'const whole = url === "" ?',
    tests,
  },
  {
    what: "HTTP: two hosts are one",
    file: "src/net/http.ts",
    find: "host !== null && !validHost.test(host)",
    replace: "host !== null && !validHost.test(host.slice(0, 1))",
    tests,
  },
  {
    what: "HTTP: an empty Host is none",
    file: "src/net/http.ts",
    find: ";=%-]*)(?::",
    replace: ";=%-]+)(?::",
    tests,
  },
  {
    what: "HTTP: a body is waited for as long as it takes",
    file: "src/net/http.ts",
    find: "await Promise.race([whole, late])",
    replace: "await Promise.race([whole])",
    tests,
  },
  {
    what: "HTTP: a renewed certificate cuts off whoever is being answered",
    file: "src/net/http.ts",
    find: "void server.stop(false)",
    replace: "void server.stop(true)",
    tests: "test/broker/http-tls.test.ts",
  },
];
