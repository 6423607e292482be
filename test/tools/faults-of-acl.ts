/** Faults in what is told of the access list: each would name the wrong line, or none, to who asks why. */
import type { Fault } from "./faults.ts";

const unit = "test/unit/access.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "acl: the rule that is named is any that matches, whatever it allows",
    file: "src/access/permissions.ts",
    find: "(isDenial(rule) || rule[access]) && filterMatches",
    replace: "filterMatches",
    tests: unit,
  },
  {
    what: "acl: lines are counted without comments",
    file: "src/access/acl.ts",
    find: "{ line: number, words }",
    replace: "{ line: number - 1, words }",
    tests: unit,
  },
  {
    what: "acl: a refused publish does not say by which line",
    file: "src/broker/publish/handle-publish.ts",
    find: 'decision === undefined ? ""',
    replace: 'decision !== null ? ""',
    tests: "test/broker/access.test.ts",
  },
  {
    what: "acl: check asks as a client without a name",
    file: "cli/acl.ts",
    find: 'username: user === "" ? undefined : user',
    replace: "username: undefined",
    tests: "test/cli/acl.test.ts",
    needsBuild: true,
  },
];
