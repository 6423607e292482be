/**
 * UDP sockets, on Node's API: Bun's own has neither a receive buffer that can be set nor multicast groups that it joins
 * everywhere.
 */
import { createSocket, type RemoteInfo, type Socket, type SocketOptions } from "node:dgram";
import { isIP } from "node:net";
import { orCrash } from "../base/assert.ts";
import { messageOf, OperatingError } from "../base/errors.ts";

/** A multicast group and its port. */
export interface Group {
  readonly address: string;
  readonly port: number;
}

export interface UdpOptions {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly receiveBufferBytes: number;
  /** A group whose datagrams are taken, too; undefined: none. */
  readonly group: Group | undefined;
  readonly received: (bytes: Uint8Array, from: RemoteInfo) => void;
  /** Told what fails while the socket is open; it stays open. */
  readonly failed: (why: string) => void;
}

export interface UdpSocket {
  readonly port: number;
  send(bytes: Uint8Array, port: number, address: string): void;
  close(): void;
}

/** Listens for datagrams. Rejects with `OperatingError` (ELISTEN), whose message has the system's code. */
export async function listenUdp(options: UdpOptions): Promise<UdpSocket> {
  const { host, port, receiveBufferBytes, group, failed } = options;
  const socket = await bind(host, port, "alone");
  const sockets = [socket];
  const received = (bytes: Buffer, from: RemoteInfo): void => orCrash(() => options.received(bytes, from));
  try {
    if (group !== undefined) {
      // Answers come from the port that clients go on with.
      const listener = group.port === socket.address().port ? socket : await bind(anywhere, group.port, "shared");
      if (listener !== socket) sockets.push(listener);
      join(listener, group.address);
    }
  } catch (error) {
    for (const open of sockets) open.close();
    throw error;
  }
  enlarge(socket, receiveBufferBytes);
  for (const open of sockets) {
    open.on("message", received);
    open.on("error", (error) => failed(messageOf(error)));
  }
  let isClosed = false;
  return {
    port: socket.address().port,
    // What cannot be sent is lost, as the network loses.
    send: (bytes, to, address) => {
      if (!isClosed) socket.send(bytes, to, address, ignore);
    },
    close: () => {
      isClosed = true;
      for (const open of sockets) open.close();
    },
  };
}

/** Multicast comes to sockets that are bound to no address of their own. */
const anywhere = "0.0.0.0";

function ignore(): void {}

function join(socket: Socket, group: string): void {
  try {
    socket.addMembership(group);
  } catch (error) {
    throw new OperatingError("ELISTEN", `cannot join the multicast group ${group}: ${messageOf(error)}`);
  }
}

/** Asks for a larger receive buffer; the kernel gives as much as it may. */
function enlarge(socket: Socket, bytes: number): void {
  try {
    socket.setRecvBufferSize(bytes);
  } catch {
    // It stays as it is.
  }
}

function bind(host: string, port: number, how: "alone" | "shared"): Promise<Socket> {
  const family = isIP(host) === 6 ? 6 : 4;
  // Answers go to addresses, so no name is ever looked up: Node would do that in a later turn, for each datagram.
  const lookup: SocketOptions["lookup"] = (address, _, done) => done(null, address, family);
  const socket = createSocket({ type: `udp${family}`, reuseAddr: how === "shared", lookup });
  return new Promise((resolve, reject) => {
    socket.once("error", (error) => {
      const code = (error as { code?: string }).code ?? messageOf(error);
      const why = code === "EADDRINUSE" ? "the port is in use; choose another with --sn-port" : code;
      reject(new OperatingError("ELISTEN", `cannot listen on ${host}:${port} (UDP): ${why}`));
    });
    socket.bind(port, host, () => {
      socket.removeAllListeners("error");
      resolve(socket);
    });
  });
}
