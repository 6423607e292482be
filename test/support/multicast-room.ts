/**
 * Run in a network of its own by the test of MQTT-SN's multicast group: a broker that has joined it, and clients that
 * look for the broker there. Prints one JSON object of what they have heard.
 */
import { createSocket, type Socket } from "node:dgram";
import { decodeMessage2 } from "../../src/mqttsn/decode-2.ts";
import { encodeMessage2 } from "../../src/mqttsn/encode-2.ts";
import type { SnMessage } from "../../src/mqttsn/message-kinds.ts";
import { decodeMessage, encodeMessage } from "../../src/mqttsn/messages.ts";
import { eventually, startBroker } from "./broker.ts";

const group = "239.255.77.77";

/** A client of the group; with a port of the group's own it hears what is said there. */
async function join(port: number): Promise<{ socket: Socket; heard: { message: SnMessage; port: number }[] }> {
  const socket = createSocket({ type: "udp4", reuseAddr: true });
  await new Promise<void>((resolve) => socket.bind(port, "0.0.0.0", resolve));
  socket.addMembership(group);
  const heard: { message: SnMessage; port: number }[] = [];
  socket.on("message", (bytes, from) => {
    const message = [decodeMessage(bytes), decodeMessage2(bytes)].find(({ kind }) => kind !== "malformed");
    if (message !== undefined && message.kind !== "malformed") heard.push({ message, port: from.port });
  });
  return { socket, heard };
}

const groupPort = 18_830;
const listener = await join(groupPort);
const broker = await startBroker({ snPort: 0, sn2: true, snMulticast: `${group}:${groupPort}`, snGatewayId: 9 });
await eventually(() => listener.heard.some(({ message }) => message.kind === "advertise"), "the broker advertises");
const seeker = await join(0);
for (const bytes of [
  encodeMessage({ kind: "searchgw", radius: 1 }),
  encodeMessage2({ kind: "searchgw", radius: 0 }),
  // Nobody connects to a group: it is taken, and answered from the broker's own port.
  encodeMessage({ kind: "connect", will: false, clean: true, protocolId: 1, duration: 60, clientId: "by-group" }),
])
  seeker.socket.send(bytes, groupPort, group);
await eventually(() => seeker.heard.length >= 3, "three answers");
const { port } = broker.server.sn!;
console.log(
  JSON.stringify({
    advertised: listener.heard.find(({ message }) => message.kind === "advertise")?.message,
    answers: seeker.heard.map(({ message }) => message.kind),
    gatewayIds: seeker.heard.flatMap(({ message }) => (message.kind === "gwinfo" ? [message.gatewayId] : [])),
    isFromItsOwnPort: seeker.heard.every((one) => one.port === port),
    clients: broker.server.sn!.gateway.clients,
  }),
);
for (const { socket } of [listener, seeker]) socket.close();
await broker.stop();
process.exit();
