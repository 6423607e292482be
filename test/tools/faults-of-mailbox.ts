/** Faults in full mailboxes: somebody else is harmed, a session is lost without a word, or half of it stays. */
import type { Fault } from "./faults.ts";

const alone = "test/broker/full-mailbox.test.ts";
const unit = "test/unit/rooms/full-mailboxes.test.ts test/unit/rooms/mailbox-gauge.test.ts";
const fullMailboxes = "src/broker/connect/full-mailboxes.ts";
const endedSessions = "src/broker/connect/ended-sessions.ts";

export const faults: readonly Fault[] = [
  {
    what: "mailbox: publishes are refused all the same",
    file: "src/broker/publish/shared-subscription.ts",
    find: 'const isRefusing = options.mailboxFull === "refuse";',
    replace: "const isRefusing = options.maxQueued > 0;",
    tests: alone,
  },
  {
    what: "mailbox: a session ends by what is counted here",
    file: fullMailboxes,
    find: "const count = hasStat(mail) ? mail.stat.childCount : 0;",
    replace: "const count = localSessions.get(clientId)?.mailbox?.count ?? (hasStat(mail) ? mail.stat.childCount : 0);",
    tests: `${unit} ${alone}`,
  },
  {
    what: "mailbox: the record of an ended session stays until the rest is gone",
    file: fullMailboxes,
    find: "journal.commit([emptying, ...notes], ended, refused);",
    replace: "void emptying;\n    client.fencingToken.version--;\n    journal.commit(notes, ended, refused);",
    tests: unit,
  },
  {
    what: "mailbox: the will of an ended session waits for its delay",
    file: fullMailboxes,
    find: "    wills.publishNow(client);\n",
    replace: "    void wills;\n",
    tests: alone,
  },
  {
    what: "mailbox: a session ends while its client is let in",
    file: fullMailboxes,
    find: "client.isEnding || client.isReleased || this.#parts.isObtaining(clientId);",
    replace: "client.isEnding || client.isReleased;",
    tests: unit,
  },
  {
    what: "mailbox: a client that does not acknowledge is not told why it must go",
    file: "src/broker/connect/connection-end.ts",
    find: "connection.sendDisconnect(reason, { reasonString: why });",
    replace: "connection.sendDisconnect(reason);",
    tests: alone,
  },
  {
    what: "mailbox: a broker that does not end sessions is told to",
    file: fullMailboxes,
    find: "remote.refuseWhenFull(!endsSessions);\n    if (endsSessions)",
    replace: "if (endsSessions || !endsSessions)",
    tests: unit,
  },
  {
    what: "mailbox: a notice goes though its session still stands there as untold",
    file: endedSessions,
    find: 'const operations = [this.#sessionStore.record(client, "connected"), ...this.#removal(clientId)];',
    replace:
      'const operations = [this.#sessionStore.record(client, "connected")];\n      journal.commit([...this.#removal(clientId)]);',
    tests: unit,
  },
  {
    what: "mailbox: a client is taken for told before it has been heard",
    file: endedSessions,
    find: "client.setUntold(this.noticeOf(client.session.clientId) !== undefined);",
    replace: "client.setUntold(false);",
    tests: unit,
  },
  {
    what: "mailbox: notices are kept without end",
    file: endedSessions,
    find: "if (until <= now || tooMany-- > 0) this.told(clientId);",
    replace: "if (until < 0 && tooMany-- > 0) this.told(clientId);",
    tests: unit,
  },
  {
    what: "mailbox: a notice is told for ever",
    file: "src/broker/inbound.ts",
    find: "      connection.onceHeard();\n",
    replace: "",
    tests: alone,
  },
  {
    what: "mailbox: a notice is lost with its broker's memory",
    file: "src/broker/assembly.ts",
    find: "      await endedSessions.start();\n",
    replace: "",
    tests: alone,
  },
  {
    what: "mailbox: what is left of an ended session stays when its broker dies",
    file: "src/broker/connect/session-remains.ts",
    find: "{ filters: [...known] });",
    replace: "{ filters: [...known].slice(1) });",
    tests: unit,
  },
  {
    what: "mailbox: a member of a group ends though another one has room",
    file: "src/broker/publish/shared-subscription.ts",
    find: "const lastResort = 0.5;",
    replace: "const lastResort = 2.5;",
    tests: "test/unit/rooms/shared.test.ts",
  },
  {
    what: "mailbox: a will is refused beside a mailbox that has used up its numbers",
    file: "src/broker/publish/publish-will.ts",
    find: "this.#parts.admission.admitWill(",
    replace: "this.#parts.admission.admit(",
    tests: "test/broker/numbers.test.ts",
  },
  {
    what: "mailbox: a mailbox is warned of with every message",
    file: "src/broker/delivery/mailbox-gauge.ts",
    find: "if (count < this.#highMin || this.#high.has(clientId)) return;",
    replace: "if (count < this.#highMin) return;",
    tests: unit,
  },
  {
    what: "mailbox: what lies in mail drops fills it",
    file: "src/broker/drops/drop-feed.ts",
    find: "const takeMax = Math.min(dropTakeMax, Math.ceil(maxQueued / 4));",
    replace: "const takeMax = dropTakeMax;",
    tests: alone,
  },
  {
    what: "mailbox: sessions before MQTT 5 last for ever",
    file: "src/broker/connect/connect-request.ts",
    find: "expiryInterval: Math.min(expiry, options.sessionExpiryMax),",
    replace: "expiryInterval: version < 5 ? expiry : Math.min(expiry, options.sessionExpiryMax),",
    tests: "test/unit/rooms/connect.test.ts",
  },
];
