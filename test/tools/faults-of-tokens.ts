/** Faults in what is believed of a token: each would let somebody sign his own, or choose his name. */
import type { Fault } from "./faults.ts";

const tokens = "test/unit/tokens.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "tokens: a key with words before its BEGIN is a secret",
    file: "src/access/token-keys.ts",
    find: "if (!/-----\\s*BEGIN/i.test(text)) return undefined;",
    replace: "if (!/^-----\\s*BEGIN/i.test(text)) return undefined;",
    tests: tokens,
  },
  {
    what: "tokens: a secret may have line breaks",
    file: "src/access/token-keys.ts",
    find: "if (/[\\r\\n]/.test(text)) return",
    replace: "if (text === '') return",
    tests: tokens,
  },
  {
    what: "tokens: a key without its frame is a secret",
    file: "src/access/token-keys.ts",
    find: "if (bytes[0] !== 0x30) return false;",
    replace: "if (bytes[0] !== 0x31) return false;",
    tests: tokens,
  },
  {
    what: "tokens: a secret of a set serves under another's name",
    file: "src/access/token-keys.ts",
    find: "(kid === undefined || secret.kid === kid) && ",
    replace: "",
    tests: tokens,
  },
  {
    what: "tokens: any audience will do",
    file: "src/access/tokens.ts",
    find: 'if (audience !== "") options.audience = audience;',
    replace: "void audience;",
    tests: tokens,
  },
  {
    what: "tokens: a claim has any value",
    file: "src/access/tokens.ts",
    find: "if (at === -1) return;",
    replace: "if (at > -2) return;",
    tests: tokens,
  },
  {
    what: "tokens: who has a token without a name chooses one",
    file: "src/access/access.ts",
    find: '    if (facts.username === undefined) return refused("its token names nobody: it has neither sub nor username");\n',
    replace: "    if (facts.username === undefined) return welcome(username);\n",
    tests: tokens,
  },
  {
    what: "tokens: withdrawn keys count for ever",
    file: "src/access/key-set.ts",
    find: "now - this.#fetched.at < keySetFreshMs",
    replace: "now - this.#fetched.at < Infinity",
    tests: tokens,
  },
  {
    what: "tokens: a stranger has keys fetched as often as he likes",
    file: "src/access/key-set.ts",
    find: "now - this.#renewedAt < keySetAskMs",
    replace: "now < this.#renewedAt",
    tests: tokens,
  },
];
