/** The changes that the API has this broker make. */

import type { Acting } from "../api/ports.ts";
import { Problem } from "../api/problem.ts";
import { Accounts } from "../bank/accounts.ts";
import { milli } from "../bank/price.ts";
import { encodeUtf8 } from "../base/bytes.ts";
import { messageOf, OperatingError } from "../base/errors.ts";
import type { Broker } from "../broker/broker.ts";
import { makePublish } from "../mqtt/publish.ts";
import { Reason } from "../mqtt/reason.ts";
import { ban, lift } from "./admin-bans.ts";
import { dropMailbox } from "./api-mailbox.ts";
import { within } from "./api-patience.ts";
import type { StoreWalks } from "./api-store.ts";

const fenced = "this broker has no contact with the store: other brokers may keep its sessions by now";

/** Returns what a broker can be told to do. */
export function actionsOf(broker: Broker, walks: StoreWalks): Acting {
  const { context } = broker;
  const { localSessions, log, self, options, coordinator } = context;
  const banning = (change: typeof ban, ...[kind, name]: Parameters<Acting["ban"]>): Problem | undefined => {
    try {
      const denied = change({ kind, name }, broker);
      return denied && new Problem(denied.status, denied.why);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      return new Problem(503, messageOf(error));
    }
  };
  return {
    disconnect(clientId) {
      const connection = localSessions.get(clientId)?.connection;
      if (connection === undefined) return false;
      broker.disconnect(connection, Reason.administrativeAction, "an administrator has disconnected it");
      return true;
    },
    endSession(clientId, told) {
      const session = localSessions.get(clientId);
      if (session === undefined) return told(new Problem(404, "there is no session of that client"));
      if (self.isFenced) return told(new Problem(503, fenced));
      const inTime = within(broker, told);
      broker.handle({ kind: "endSession", session, done: () => inTime(undefined) });
    },
    dropMailbox: (clientId, done) => dropMailbox(broker, clientId, done),
    dropStored(unwanted, done) {
      if (self.isFenced) return done(new Problem(503, fenced));
      walks.drop(unwanted, done);
    },
    publish({ topic, payload, qos, retain }, told) {
      const publish = makePublish(encodeUtf8(topic), payload, { qos, retain });
      const inTime = within(broker, told);
      broker.handle({
        kind: "publish",
        publish,
        done: (why) => inTime(why === undefined ? undefined : new Problem(409, why)),
      });
    },
    changeCapital(credits, done) {
      new Accounts(coordinator).changeCapital(milli * credits, {}, (change) =>
        done("refused" in change ? new Problem(409, change.refused) : change.capital / milli),
      );
    },
    sweep() {
      let problem: Problem | undefined;
      broker.handle({
        kind: "sweep",
        done(why) {
          if (why === "notTeller") problem = new Problem(404, "this broker is not the teller, which sweeps for all");
          if (why === "noContact") problem = new Problem(503, fenced);
        },
      });
      return problem;
    },
    drain() {
      if (self.isDraining) return new Problem(409, "the broker is about to leave already");
      if (options.drainTime === 0) return new Problem(409, "the broker has --drain-time 0: it sends nobody elsewhere");
      broker.handle({ kind: "drain", done: () => log.info("drained: no client is left") });
      return undefined;
    },
    ban: (...entry) => banning(ban, ...entry),
    liftBan: (...entry) => banning(lift, ...entry),
    setLogLevel(level) {
      log.level = level;
      log.info(`the log level is ${level} now`);
    },
  };
}
