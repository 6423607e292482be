/** Faults in who comes in and what they may do: each would let somebody do what he may not. */
import type { Fault } from "./faults.ts";

const access = "test/unit/access.test.ts test/broker/access.test.ts";

const tokens = "test/unit/tokens.test.ts";

export const faults: readonly Fault[] = [
  {
    what: "doors: a wrong password is remembered as a right one",
    file: "src/access/access.ts",
    find: "if (!(await isPasswordOf(hash, password))) return false;",
    replace: "await isPasswordOf(hash, password);",
    tests: access,
  },
  {
    what: "doors: SCRAM does not look at the binding",
    file: "src/access/scram.ts",
    find: 'if (Buffer.from(binding!, "base64").toString("latin1") !== this.#gs2Header) return refused;',
    replace: "void binding;",
    tests: access,
  },
  {
    what: "doors: a public key serves as a secret",
    file: "src/access/token-keys.ts",
    find: "if (pem !== undefined) return { algorithms: asymmetric, find: always(publicKeyIn(pem)) };",
    replace:
      "if (pem !== undefined) return { algorithms: [...symmetric, ...asymmetric], find: async ({ alg }) => alg[0] === 'H' ? createSecretKey(Buffer.from(trimmed)) : publicKeyIn(pem) };",
    tests: tokens,
  },
  {
    what: "doors: a hook that does not answer lets in",
    file: "src/access/hook.ts",
    find: 'if (reply === undefined) return deny("does not answer");',
    replace: 'if (reply === undefined) return { result: "allow", username: undefined, topics: undefined };',
    tests: access,
  },
  {
    what: "doors: a client id becomes a wildcard",
    file: "src/access/acl.ts",
    find: "/[+#/]/.test(value)",
    replace: "/[#/]/.test(value)",
    tests: access,
  },
  {
    what: "doors: routes are worked out for who may not read",
    file: "src/router/router.ts",
    find: "else if (this.#rules.mayReceive(subscriber as Here, route.topic))",
    replace: "else",
    tests: access,
  },
  {
    what: "doors: retained messages for who may not read them",
    file: "src/broker/delivery/retained-feed.ts",
    find: "    if (!client.mayReceive(publish)) return true;\n",
    replace: "",
    tests: access,
  },
  {
    what: "doors: mail for who may not read it any more",
    file: "src/broker/delivery/local-session.ts",
    find: " && this.mayReceive(publish);",
    replace: ";",
    tests: access,
  },
  {
    what: "doors: a shared subscription chooses who may not read",
    file: "src/broker/publish/shared-subscription.ts",
    find: "    if (member.permissions?.mayReceive(topicOf(publish)) === false) return 0;\n",
    replace: "",
    tests: access,
  },
  {
    what: "doors: what was allowed once is allowed after the rules have changed",
    file: "src/broker/connect/admission.ts",
    find: "      connection.allowed = undefined;\n",
    replace: "",
    tests: access,
  },
  {
    what: "doors: routes outlive a change of the rules",
    file: "src/broker/connect/admission.ts",
    find: "    router.touch();\n",
    replace: "    void router;\n",
    tests: access,
  },
  {
    what: "doors: a will that is not allowed any more",
    file: "src/broker/publish/handle-publish.ts",
    find: " || publisher?.permissions?.mayPublish(route.topic) === false",
    replace: "",
    tests: access,
  },
  {
    what: "doors: a connection over TLS has no address",
    file: "src/net/tcp.ts",
    find: "const { remoteAddress, remotePort } = socket;",
    replace: "const { remoteAddress, remotePort } = {} as typeof socket;",
    tests: "test/broker/doors.test.ts",
  },
  {
    what: "doors: a certificate of another authority",
    file: "src/net/tls.ts",
    find: "if (isShown) return",
    replace: 'if (isShown && clientCertificates === "off") return',
    tests: "test/broker/doors.test.ts",
  },
  {
    what: "doors: a stranger at the link port may say much",
    file: "src/link/frames.ts",
    find: "frameBytesMax = linkStrangerBytesMax;",
    replace: "frameBytesMax = 300 * 1024 * 1024;",
    tests: "test/cluster/secrets.test.ts",
  },
  {
    what: "doors: links without a secret",
    file: "src/server/server.ts",
    find: "linkSecret: await linkSecretOf(options, coordinator),",
    replace: "linkSecret: undefined,",
    tests: "test/cluster/secrets.test.ts",
  },
  {
    what: "doors: znodes that anybody may read",
    file: "src/zookeeper/client.ts",
    find: 'request.kind === "create" ? { acl: this.#acl, ...request } : request',
    replace: "request",
    tests: "test/cluster/secrets.test.ts",
  },
  {
    what: "doors: a client that is too fast loses what it sends",
    file: "src/broker/inbound.ts",
    find: "timers.set(new Timer(() => this.resume(connection, PauseReason.rate)), now + wait);",
    replace: "timers.set(new Timer(() => connection.transport.abort()), now + wait);",
    tests: "test/broker/limits.test.ts",
  },
  {
    what: "doors: a frame between brokers says what nobody knows",
    file: "src/link/json-frames.ts",
    find: 'if (typeof say !== "string" || !Object.hasOwn(controls, say)) throw',
    replace: 'if (typeof say !== "string") throw',
    tests: "test/unit/link-frames.test.ts",
  },
  {
    what: "doors: the fields of a frame between brokers are believed",
    file: "src/link/json-frames.ts",
    find: "if (!check(body[name])) throw",
    replace: "if (body[name] === check) throw",
    tests: "test/unit/link-frames.test.ts",
  },
  {
    what: "doors: a bent message waits for mailboxes",
    file: "src/broker/cluster/arriving.ts",
    find: "    this.#read(bytes, delivery.packetStart, end);\n    const kept",
    replace: "    const kept",
    tests: "test/unit/link-frames.test.ts",
  },
];
