/** A TCP proxy that can be cut: then nothing passes and nobody is told, as when a cable is pulled. */
import type { Socket, TCPSocketListener } from "bun";

interface Pair {
  readonly near: Socket<Side>;
  far: Socket<Side> | undefined;
  /** The first bytes of the near side: they tell who it is. */
  first: string;
}

interface Side {
  pair: Pair;
  other: () => Socket<Side> | undefined;
  waiting: Uint8Array[];
}

/** The bytes that are lost where something is cut: all, those of whoever dialled, or those of whoever was dialled. */
export type CutWays = "both" | "from dialler" | "to dialler";

export interface TcpProxy {
  readonly port: number;
  /** Cuts connections, and those to come, whose first bytes hold a text. */
  cut(text: string, ways?: CutWays): void;
  heal(): void;
  /** Breaks all connections, and both sides hear of it. */
  reset(): void;
  stop(): void;
}

export function startProxy(near: { host: string; port: number }, far: { host: string; port: number }): TcpProxy {
  const pairs = new Set<Pair>();
  let cuts: { readonly text: string; readonly ways: CutWays }[] = [];
  const isCut = ({ first }: Pair): boolean => cuts.some(({ text }) => first.includes(text));
  const isLost = ({ first }: Pair, way: CutWays): boolean =>
    cuts.some(({ text, ways }) => (ways === "both" || ways === way) && first.includes(text));
  const terminate = ({ near: a, far: b }: Pair): void => {
    a.terminate();
    b?.terminate();
  };
  const forward = (socket: Socket<Side>, bytes: Uint8Array): void => {
    const { pair, other } = socket.data;
    if (socket === pair.near && pair.first.length < 4096) pair.first += Buffer.from(bytes).toString("latin1");
    if (isLost(pair, socket === pair.near ? "from dialler" : "to dialler")) return;
    const to = other();
    if (to === undefined) socket.data.waiting.push(Uint8Array.from(bytes));
    else send(to, bytes);
  };
  const handlers = {
    data: forward,
    drain: (socket: Socket<Side>) => flush(socket),
    close: (socket: Socket<Side>) => {
      const { pair, other } = socket.data;
      if (!isCut(pair)) other()?.end();
      if (socket === pair.near) pairs.delete(pair);
    },
    error() {},
  };
  const listener: TCPSocketListener<Side> = Bun.listen<Side>({
    hostname: near.host,
    port: near.port,
    socket: {
      ...handlers,
      open(socket) {
        const pair: Pair = { near: socket, far: undefined, first: "" };
        pairs.add(pair);
        socket.data = { pair, other: () => pair.far, waiting: [] };
        const opened = Bun.connect<Side>({
          hostname: far.host,
          port: far.port,
          data: { pair, other: () => socket, waiting: [] },
          socket: {
            ...handlers,
            open(other) {
              pair.far = other;
              for (const bytes of socket.data.waiting.splice(0)) if (!isLost(pair, "from dialler")) send(other, bytes);
            },
          },
        });
        opened.catch(() => socket.end());
      },
    },
  });
  return {
    port: listener.port,
    cut(text, ways = "both") {
      cuts.push({ text, ways });
    },
    heal() {
      // What was cut has lost bytes: such connections are of no use any more.
      const broken = [...pairs].filter(isCut);
      cuts = [];
      for (const pair of broken) terminate(pair);
    },
    reset() {
      for (const pair of [...pairs]) terminate(pair);
    },
    stop() {
      listener.stop(true);
      for (const { far: b } of pairs) b?.terminate();
    },
  };
}

/** Sends; bytes that a socket does not take now go when it drains. */
function send(to: Socket<Side>, bytes: Uint8Array): void {
  to.data.waiting.push(Uint8Array.from(bytes));
  if (to.data.waiting.length === 1) flush(to);
}

function flush(socket: Socket<Side>): void {
  const { waiting } = socket.data;
  for (let bytes = waiting[0]; bytes !== undefined; bytes = waiting[0]) {
    const taken = Math.max(0, socket.write(bytes));
    if (taken < bytes.length) {
      waiting[0] = bytes.subarray(taken);
      return;
    }
    waiting.shift();
  }
}
