/** A broker that does what a test says, packet by packet, through mqtt-packet alone. */
import type { Socket, TCPSocketListener } from "bun";
import mqttPacket, { type Packet } from "mqtt-packet";
import { eventually } from "./broker.ts";
import type { AnyPacket } from "./raw-client.ts";

export class ScriptedConnection {
  readonly packets: AnyPacket[] = [];
  isClosed = false;
  readonly #socket: Socket<ScriptedConnection>;

  constructor(socket: Socket<ScriptedConnection>) {
    this.#socket = socket;
  }

  send(packet: AnyPacket): void {
    this.#socket.write(mqttPacket.generate(packet, { protocolVersion: 5 }));
  }

  /** Waits for the next packet of a kind, and takes it out. */
  async take(cmd: string): Promise<AnyPacket> {
    await eventually(() => this.packets.some((packet) => packet.cmd === cmd), `a ${cmd}`);
    const at = this.packets.findIndex((packet) => packet.cmd === cmd);
    return this.packets.splice(at, 1)[0];
  }

  /** Takes CONNECT and answers it. */
  async admit(properties: object = {}, sessionPresent = false): Promise<AnyPacket> {
    const connect = await this.take("connect");
    this.send({ cmd: "connack", reasonCode: 0, sessionPresent, properties });
    return connect;
  }

  /** Takes SUBSCRIBE and grants what it asks for. */
  async grant(): Promise<AnyPacket> {
    const subscribe = await this.take("subscribe");
    this.send({ cmd: "suback", messageId: subscribe.messageId, granted: [subscribe.subscriptions[0].qos] });
    return subscribe;
  }

  cut(): void {
    this.#socket.terminate();
  }
}

export class ScriptedBroker {
  readonly connections: ScriptedConnection[] = [];
  readonly #listener: TCPSocketListener<ScriptedConnection>;
  #taken = 0;

  constructor() {
    this.#listener = Bun.listen<ScriptedConnection>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: (socket) => {
          const connection = new ScriptedConnection(socket);
          socket.data = connection;
          const parser = mqttPacket.parser({ protocolVersion: 5 });
          parser.on("packet", (packet: Packet) => connection.packets.push(packet));
          parsers.set(connection, parser);
          this.connections.push(connection);
        },
        data(socket, bytes) {
          parsers.get(socket.data)!.parse(Buffer.from(bytes));
        },
        close(socket) {
          socket.data.isClosed = true;
        },
        error() {},
      },
    });
  }

  get port(): number {
    return this.#listener.port;
  }

  /** The next connection that comes. */
  async next(): Promise<ScriptedConnection> {
    await eventually(() => this.connections.length > this.#taken, "a connection");
    return this.connections[this.#taken++]!;
  }

  stop(): void {
    this.#listener.stop(true);
  }
}

const parsers = new WeakMap<ScriptedConnection, ReturnType<typeof mqttPacket.parser>>();
