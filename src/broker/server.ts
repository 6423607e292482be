/** The broker with its doors open: sockets, the embedded store, the clock. */
import { systemClock } from "../base/clock.ts";
import { shutdownWaitMs } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import { EmbeddedCoordinator } from "../embedded/embedded-coordinator.ts";
import { type Listener, listenTcp } from "../net/tcp.ts";
import { Turn } from "../net/writer.ts";
import { Broker } from "./broker.ts";
import { Connection } from "./connection.ts";
import type { BrokerOptions } from "./options.ts";

export interface Server {
  /** The port that is listened on, also where the options said 0. */
  readonly port: number;
  readonly broker: Broker;
  /** Ends in order: clients are told, the store is flushed. */
  stop(): Promise<void>;
}

/** Starts a broker. Rejects with `OperatingError`: a port in use, a folder that cannot be written. */
export async function startServer(options: BrokerOptions, log: Log): Promise<Server> {
  const coordinator = await EmbeddedCoordinator.open(options.data);
  coordinator.onState((state, why) => {
    if (state === "CONNECTED") log.info("the store works again");
    else log.error({ state, why }, "the store cannot write; what needs it waits, unacknowledged");
  });
  const turn = new Turn((flush) => void setImmediate(flush));
  const broker = await Broker.start({ options, coordinator, log, turn, clock: systemClock, random: systemRandom });
  setAlarm(broker);
  let listener: Listener;
  try {
    listener = listen(options, broker, turn);
  } catch (error) {
    await new Promise<void>((resolve) => coordinator.close(resolve));
    throw error;
  }
  const stop = async (): Promise<void> => {
    listener.close();
    broker.handle({ kind: "shutdown" });
    const flushed = new Promise<void>((resolve) => coordinator.close(resolve));
    await Promise.race([flushed, Bun.sleep(shutdownWaitMs)]);
  };
  return { port: listener.port, broker, stop };
}

function listen(options: BrokerOptions, broker: Broker, turn: Turn): Listener {
  return listenTcp<Connection>(options.host, options.port, {
    opened(transport) {
      const connection = new Connection(transport, turn);
      broker.handle({ kind: "opened", connection });
      return connection;
    },
    received(connection, bytes) {
      broker.handle({ kind: "received", connection, bytes });
    },
    drained(connection) {
      broker.handle({ kind: "drained", connection });
    },
    closed(connection, why) {
      broker.handle({ kind: "closed", connection, why });
    },
  });
}

/** Has `tick` handled at the broker's next deadline. */
function setAlarm(broker: Broker): void {
  let setFor = Infinity;
  let timeout: ReturnType<typeof setTimeout> | undefined;
  const ring = (): void => {
    setFor = Infinity;
    broker.handle({ kind: "tick" });
    wake();
  };
  const wake = (): void => {
    const deadline = broker.nextDeadline();
    if (deadline >= setFor) return;
    clearTimeout(timeout);
    setFor = deadline;
    // Longer waits than a timeout can take are cut: the alarm rings early and is set again.
    timeout = setTimeout(ring, Math.max(0, Math.min(deadline - systemClock.now(), 2 ** 30)));
  };
  broker.onSooner(wake);
  wake();
}
