/** A service manager as systemd is one for the broker: a socket that prints what it is told, and when. */

import { eventually } from "./broker.ts";
import { killedAtExit } from "./children.ts";

/** Bun has no Unix datagram sockets; Python has. */
const listener = `
import socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1].replace("@", "\\0", 1))
print("listening", flush=True)
while True:
    text = s.recv(4096).decode()
    print(time.monotonic_ns() // 1000, text.replace("\\n", "|"), flush=True)
`;

/** A datagram. */
export interface Told {
  /** Microseconds of the system's monotonic clock. */
  readonly at: number;
  readonly lines: readonly string[];
}

export class FakeServiceManager {
  readonly told: Told[] = [];
  readonly #child: Bun.Subprocess<"ignore", "pipe", "inherit">;
  #isListening = false;

  private constructor(path: string) {
    const command = ["python3", "-c", listener, path];
    this.#child = killedAtExit(Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "inherit" }));
    void this.#read();
  }

  /** Listens at a file's path, or behind `@` at a name that is none of a file's. */
  static async listen(path: string): Promise<FakeServiceManager> {
    const manager = new FakeServiceManager(path);
    await eventually(() => manager.#isListening, "the service manager listens");
    return manager;
  }

  /** Waits for a datagram that has this line, after the first `from`. */
  async untilTold(line: string, from = 0): Promise<Told> {
    const find = (): Told | undefined => this.told.slice(from).find(({ lines }) => lines.includes(line));
    await eventually(() => find() !== undefined, `it is told ${line}`);
    return find()!;
  }

  async close(): Promise<void> {
    this.#child.kill();
    await this.#child.exited;
  }

  async #read(): Promise<void> {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const bytes of this.#child.stdout) {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        if (line === "listening") this.#isListening = true;
        else this.told.push({ at: Number.parseInt(line, 10), lines: line.slice(line.indexOf(" ") + 1).split("|") });
      }
    }
  }
}
