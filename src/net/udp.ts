/**
 * UDP sockets, on Node's API: Bun's own has neither a receive buffer that can be set nor multicast groups that it joins
 * everywhere.
 */
import { createSocket, type RemoteInfo, type Socket, type SocketOptions } from "node:dgram";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { orCrash } from "../base/assert.ts";
import { messageOf, OperatingError } from "../base/errors.ts";
import { DatagramTurns } from "./datagram-turns.ts";

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
  /** Told of each datagram that is lost, since more come than are handled. */
  readonly lost: () => void;
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
  const turns = new DatagramTurns<RemoteInfo>((bytes, from) => orCrash(() => options.received(bytes, from)));
  const received = (bytes: Buffer, from: RemoteInfo): void => {
    if (!turns.take(bytes, from)) options.lost();
  };
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

/** A socket that speaks to one place. */
export interface UdpLine {
  readonly remote: string;
  /** Bytes that the kernel has not taken yet. */
  readonly unsent: number;
  send(bytes: Uint8Array): void;
  close(): void;
}

export interface UdpLineEvents {
  received(bytes: Uint8Array): void;
  /** The system says that nobody is there, or what else is wrong. The socket stays open. */
  failed(why: string): void;
}

/** Opens a socket that speaks to one place, and hears of it alone. Rejects with `OperatingError` (ECONNECT). */
export async function dialUdp(host: string, port: number, events: UdpLineEvents): Promise<UdpLine> {
  const { address, family } = await addressOf(host);
  const socket = createSocket(family === 6 ? "udp6" : "udp4");
  const remote = family === 6 ? `[${address}]:${port}` : `${address}:${port}`;
  await new Promise<void>((resolve, reject) => {
    const fail = (error: Error): void =>
      reject(new OperatingError("ECONNECT", `cannot reach ${remote} (UDP): ${messageOf(error)}`));
    socket.once("error", fail);
    socket.connect(port, address, () => {
      socket.off("error", fail);
      resolve();
    });
  });
  socket.on("message", (bytes) => orCrash(() => events.received(bytes)));
  socket.on("error", (error) => orCrash(() => events.failed(reasonOf(error))));
  let isClosed = false;
  return {
    remote,
    get unsent() {
      return isClosed ? 0 : socket.getSendQueueSize();
    },
    send: (bytes) => {
      if (!isClosed) socket.send(bytes, ignore);
    },
    close: () => {
      if (!isClosed) socket.close();
      isClosed = true;
    },
  };
}

/** Returns the address of a host, rather one of IPv4: small devices speak nothing else. */
async function addressOf(host: string): Promise<{ address: string; family: number }> {
  if (isIP(host) !== 0) return { address: host, family: isIP(host) };
  try {
    const all = await lookup(host, { all: true });
    return all.find(({ family }) => family === 4) ?? all[0]!;
  } catch {
    throw new OperatingError("ECONNECT", `cannot reach ${host}: there is no such host`);
  }
}

function reasonOf(error: Error): string {
  const { code } = error as { code?: string };
  return code === "ECONNREFUSED" ? "nobody listens there (UDP)" : (code ?? messageOf(error));
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
