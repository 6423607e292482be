/** A SOCKS 5 proxy, written from RFC 1928 on Node's sockets: what both mosquitto's clients and ours go through. */
import { connect, createServer, type Socket } from "node:net";

export interface SocksServer {
  readonly port: number;
  /** Hosts and ports that it was asked for. */
  readonly asked: string[];
  stop(): void;
}

/** With `login` it lets in only who knows that. */
export async function startSocksProxy(login?: { username: string; password: string }): Promise<SocksServer> {
  const asked: string[] = [];
  const server = createServer((near) => {
    near.on("error", () => near.destroy());
    void serve(near, login, asked).catch(() => near.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return { port, asked, stop: () => void server.close() };
}

async function serve(near: Socket, login: { username: string; password: string } | undefined, asked: string[]) {
  const reader = new Reader(near);
  const [, methodCount] = await reader.take(2);
  const methods = [...(await reader.take(methodCount!))];
  const method = login === undefined ? 0 : 2;
  if (!methods.includes(method)) return near.end(Buffer.from([5, 0xff]));
  near.write(Buffer.from([5, method]));
  if (login !== undefined) {
    const [, nameLength] = await reader.take(2);
    const name = (await reader.take(nameLength!)).toString();
    const password = (await reader.take((await reader.take(1))[0]!)).toString();
    const isRight = name === login.username && password === login.password;
    near.write(Buffer.from([1, isRight ? 0 : 1]));
    if (!isRight) return near.end();
  }
  const [, , , type] = await reader.take(4);
  const host =
    type === 1
      ? [...(await reader.take(4))].join(".")
      : (await reader.take(type === 3 ? (await reader.take(1))[0]! : 16)).toString();
  const port = (await reader.take(2)).readUInt16BE();
  asked.push(`${host}:${port}`);
  const far = connect({ host, port });
  far.on("error", () => near.end(Buffer.from([5, 5, 0, 1, 0, 0, 0, 0, 0, 0])));
  far.on("connect", () => {
    near.write(Buffer.from([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]));
    reader.pipeTo(far);
    far.pipe(near);
  });
  return undefined;
}

class Reader {
  readonly #socket: Socket;
  #bytes = Buffer.alloc(0);
  #wake: () => void = () => {};
  #to: Socket | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk) => {
      if (this.#to !== undefined) return void this.#to.write(chunk);
      this.#bytes = Buffer.concat([this.#bytes, chunk as Buffer]);
      this.#wake();
    });
    socket.on("close", () => this.#to?.end());
  }

  async take(count: number): Promise<Buffer> {
    while (this.#bytes.length < count) await new Promise<void>((resolve) => (this.#wake = resolve));
    const taken = this.#bytes.subarray(0, count);
    this.#bytes = this.#bytes.subarray(count);
    return taken;
  }

  pipeTo(to: Socket): void {
    this.#to = to;
    if (this.#bytes.length > 0) to.write(this.#bytes);
    this.#socket.on("end", () => to.end());
  }
}
