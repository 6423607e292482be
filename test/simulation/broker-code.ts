/**
 * The code that a machine of the simulated world runs: this version's, or that of the last commit whose brokers know
 * format 1 alone, which is taken from the clone and plays beside this one's in the same thread.
 */
import { join } from "node:path";
import { Broker } from "../../src/broker/broker.ts";
import { type BrokerOptions, defaultOptions } from "../../src/broker/core/options.ts";
import { Connection } from "../../src/broker/delivery/connection.ts";
import { LinkConnection } from "../../src/broker/peers/link-connection.ts";
import type { Coordinator } from "../../src/coordinator/coordinator.ts";
import { Turn } from "../../src/net/writer.ts";
import { lastOfFormat1, sourceOf } from "../support/older.ts";

export interface BrokerCode {
  readonly Broker: typeof Broker;
  readonly Connection: typeof Connection;
  readonly LinkConnection: typeof LinkConnection;
  readonly Turn: typeof Turn;
  readonly options: BrokerOptions;
  /** Makes the store's port what this code knows of it. */
  readonly portOf: (coordinator: Coordinator) => Coordinator;
}

export const thisVersion: BrokerCode = {
  Broker,
  Connection,
  LinkConnection,
  Turn,
  options: defaultOptions,
  portOf: (coordinator) => coordinator,
};

/**
 * Rejects if this clone does not have the commit. What it shows of its inside has other types; checkers leave it alone.
 */
export async function codeOfFormat1(): Promise<BrokerCode> {
  const folder = await sourceOf(lastOfFormat1);
  const load = (path: string) => import(join(folder, "src", path));
  const [broker, connection, links, writer, options] = await Promise.all(
    ["broker/broker.ts", "broker/connection.ts", "broker/links.ts", "net/writer.ts", "broker/options.ts"].map(load),
  );
  return {
    Broker: broker.Broker,
    Connection: connection.Connection,
    LinkConnection: links.LinkConnection,
    Turn: writer.Turn,
    // It would drop what is stored after a time by chance.
    options: { ...options.defaultOptions, bankTtl: "max" },
    portOf: withoutRenewal,
  };
}

/** Before format 2 nobody was asked again about what contact was lost over: it was sent as it was. */
function withoutRenewal(coordinator: Coordinator): Coordinator {
  const write = coordinator.write.bind(coordinator);
  coordinator.write = (operations, done, repair) =>
    write(operations, done, repair && ((error) => (error === undefined ? undefined : repair(error))));
  return coordinator;
}
