/** A gateway of MQTT-SN on each machine of the simulated world: the product's own, but for the socket. */
import type { Broker } from "../../src/broker/broker.ts";
import { Connection } from "../../src/broker/delivery/connection.ts";
import type { Gateway } from "../../src/mqttsn/gateway.ts";
import { PredefinedTopics } from "../../src/mqttsn/predefined-topics.ts";
import type { TransportEvents } from "../../src/net/transport.ts";
import { gatewayOf } from "../../src/server/sn-gateway.ts";
import type { BrokerNode } from "./broker-node.ts";
import type { Machine } from "./keeper-line.ts";
import type { SnNetwork } from "./sn-network.ts";
import type { World } from "./world.ts";

export class SnNode {
  readonly id: string;
  /** The gateway of this life of the broker. */
  gateway: Gateway<Connection> | undefined;
  readonly #world: World;
  readonly #network: SnNetwork;

  constructor(world: World, node: BrokerNode, network: SnNetwork) {
    this.id = node.id;
    this.#world = world;
    this.#network = network;
    node.onStarted = (broker, machine) => this.#start(broker, machine);
  }

  #start(broker: Broker, machine: Machine): void {
    const { id } = this;
    const { context } = broker;
    const gateway = gatewayOf(context.options, {
      ...{ broker, events: eventsOf(broker), clock: context.clock, random: context.random },
      ...{ predefined: new PredefinedTopics(), keys: undefined },
      send: (bytes, port, address) => this.#network.send(id, `${address}:${port}`, bytes),
      later: (go) => this.#world.after(0, machine.guard(go)),
    });
    this.gateway = gateway;
    this.#network.bind(
      id,
      machine.guard(({ bytes, from }) => {
        const [address = "", port] = from.split(":");
        gateway.receive(bytes, { address, port: Number(port) });
      }),
    );
    let alarmAt = Infinity;
    const wake = (): void => {
      const deadline = gateway.nextDeadline();
      if (deadline >= alarmAt) return;
      alarmAt = deadline;
      machine.at(deadline, () => {
        if (alarmAt !== deadline) return;
        alarmAt = Infinity;
        gateway.tick(machine.now());
        wake();
      });
    };
    gateway.onSooner(wake);
  }
}

function eventsOf(broker: Broker): TransportEvents<Connection> {
  const drained = (connection: Connection): void => broker.handle({ kind: "drained", connection });
  return {
    opened(transport) {
      const connection = new Connection(transport, broker.context.turn, drained);
      broker.handle({ kind: "opened", connection });
      return connection;
    },
    received: (connection, bytes) => broker.handle({ kind: "received", connection, bytes }),
    drained,
    closed: (connection, why) => broker.handle({ kind: "closed", connection, why }),
  };
}
