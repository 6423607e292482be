/** Faults in how packages come and go: a store that is deleted too early, or settings that an upgrade overwrites. */
import type { Fault } from "./faults.ts";

const tests = "test/cli/packages.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "packages: Debian's removal deletes the store",
    file: "k8s/packages/deb/postrm",
    find: 'if [ "$1" = purge ]; then\n\trm -rf',
    replace: 'if [ "$1" = remove ]; then\n\trm -rf',
    tests,
    needsBuild: true,
  },
  {
    what: "packages: an upgrade overwrites the configuration",
    file: "test/tools/pack.ts",
    find: 'isConfig ? "%config(noreplace) "',
    replace: 'isConfig ? "%config "',
    tests,
    needsBuild: true,
  },
  {
    what: "packages: the chart's brokers may all be away at once",
    file: "k8s/chart/templates/network-policy.yaml",
    find: "maxUnavailable: 1",
    replace: "maxUnavailable: 3",
    tests: "test/k8s/chart/chart.test.ts",
  },
];
