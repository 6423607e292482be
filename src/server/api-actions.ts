/** The changes that the API has this broker make. */
import type { Acting } from "../api/ports.ts";
import type { Broker } from "../broker/broker.ts";
import { Reason } from "../mqtt/reason.ts";

/** Returns what a broker can be told to do. */
export function actionsOf(broker: Broker): Acting {
  const { localSessions, log } = broker.context;
  return {
    disconnect(clientId) {
      const connection = localSessions.get(clientId)?.connection;
      if (connection === undefined) return false;
      broker.disconnect(connection, Reason.administrativeAction, "an administrator has disconnected it");
      return true;
    },
    setLogLevel(level) {
      log.level = level;
      log.info(`the log level is ${level} now`);
    },
  };
}
