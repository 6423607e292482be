/** `pub` to a broker that reads nothing for a while: it must not end before the broker has what it was told to send. */
import { expect, test } from "bun:test";
import { lingerMs } from "../../src/base/limits.ts";
import { runExecutable } from "../support/process.ts";

/** A broker that takes CONNECT, sleeps for longer than a closed connection is let linger, and then reads on. */
function sleepyBroker(answersPings: boolean) {
  const heard: Buffer[] = [];
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket, bytes) {
        heard.push(Buffer.from(bytes));
        if (heard.length === 1) {
          socket.write(Buffer.from("2003000000", "hex"));
          socket.pause();
          setTimeout(() => socket.resume(), 2 * lingerMs);
        }
        if (bytes.length < 2 || bytes.readUInt16BE(bytes.length - 2) !== 0xc000) return;
        if (answersPings) socket.write(Buffer.from("d000", "hex"));
        else socket.end();
      },
    },
  });
  return { port: String(listener.port), heard: () => Buffer.concat(heard), stop: () => listener.stop(true) };
}

test.each([
  ["one message", ["-s"], "A".repeat(900_000)],
  ["many lines", ["-l"], `${"A".repeat(999)}\n`.repeat(900)],
])(
  "%s at QoS 0 are there whole before pub ends",
  async (_, words, input) => {
    const broker = sleepyBroker(true);
    const to = ["-h", "127.0.0.1", "-p", broker.port, "-V", "5"];
    expect(await runExecutable(["pub", ...to, "-t", "a", ...words], { input })).toEqual({ code: 0, out: "", err: "" });
    const all = broker.heard().toString("latin1");
    expect(all.match(/A/g)!.length).toBe(input.match(/A/g)!.length);
    // PINGREQ, and DISCONNECT behind its answer.
    expect(broker.heard().toString("hex")).toMatch(/c000e0(020000|00)$/);
    broker.stop();
  },
  60_000,
);

test("a broker that hangs up before it has it all is told of", async () => {
  const broker = sleepyBroker(false);
  const to = ["-h", "127.0.0.1", "-p", broker.port, "-V", "5", "--retry-for", "0"];
  const { code, err } = await runExecutable(["pub", ...to, "-t", "a", "-s"], { input: "A".repeat(900_000) });
  expect([code, err]).toEqual([1, "mqttzoo: the broker closed the connection\n"]);
  broker.stop();
}, 60_000);
