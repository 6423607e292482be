/** Happy eyeballs: which of a host's addresses is taken, and what becomes of the others. */
import { expect, test } from "bun:test";
import { dialHost } from "../../src/net/dial-host.ts";
import { type DialAddress, dialFirst, inTurn } from "../../src/net/happy-eyeballs.ts";
import type { Transport } from "../../src/net/transport.ts";

class FakeTransport {
  isAborted = false;
  abort(): void {
    this.isAborted = true;
  }
}

/** Dials that the test lets succeed or fail. */
function room() {
  const dials = new Map<string, { open(): FakeTransport; fail(): void }>();
  const owners: string[] = [];
  const events = {
    opened: () => {
      owners.push("opened");
      return "owner";
    },
    received: () => void owners.push("received"),
    drained() {},
    closed: (_: string, error: string | undefined) => void owners.push(`closed ${error}`),
  };
  const dial: DialAddress<string> = (address, raced) =>
    new Promise((resolve, reject) => {
      dials.set(address, {
        open() {
          const transport = new FakeTransport();
          const racer = raced.opened(transport as unknown as Transport);
          raced.received(racer, new Uint8Array(1));
          resolve(racer);
          return transport;
        },
        fail: () => reject(new Error(`${address} refuses`)),
      });
    });
  const dialled = async (address: string): Promise<void> => {
    while (!dials.has(address)) await Bun.sleep(1);
  };
  return { dials, dial, dialled, events, owners };
}

test("an address that does not answer holds the others up for a moment only; who comes late is closed", async () => {
  const { dials, dial, dialled, events, owners } = room();
  const first = dialFirst(["::1", "192.0.2.1"], events, dial);
  await dialled("192.0.2.1");
  const won = dials.get("192.0.2.1")!.open();
  expect(await first).toBe("owner");
  expect(dials.get("::1")!.open().isAborted).toBe(true);
  expect([won.isAborted, owners]).toEqual([false, ["opened", "received"]]);
});

test("one that fails is followed by the next at once, and the last word is that of the last to fail", async () => {
  const { dials, dial, dialled, events, owners } = room();
  const first = dialFirst(["a", "b"], events, dial);
  dials.get("a")!.fail();
  await dialled("b");
  dials.get("b")!.fail();
  await expect(first).rejects.toThrow("b refuses");
  expect(owners).toEqual([]);
});

test("IPv6 and IPv4 take turns, beginning as the resolver does", () => {
  expect(inTurn(["::1", "::2", "1.1.1.1", "2.2.2.2", "3.3.3.3"])).toEqual([
    "::1",
    "1.1.1.1",
    "::2",
    "2.2.2.2",
    "3.3.3.3",
  ]);
  expect(inTurn(["1.1.1.1", "::1"])).toEqual(["1.1.1.1", "::1"]);
});

test("a host is dialled at each of its addresses; what goes wrong at all of them names the host", async () => {
  const greeted = Promise.withResolvers<string>();
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { open: (socket) => void socket.write("hello"), data() {} },
  });
  const { port } = listener;
  const events = {
    opened: (transport: Transport) => transport,
    received: (transport: Transport, bytes: Uint8Array) => {
      transport.abort();
      greeted.resolve(new TextDecoder().decode(bytes));
    },
    drained() {},
    closed() {},
  };
  const asked: [string, number][] = [];
  const at = (...addresses: string[]) => ({
    addressesOf: async (host: string, family: number) => {
      asked.push([host, family]);
      return addresses;
    },
  });
  // Nobody listens at the first: all of 127.0.0.0/8 is this machine.
  await dialHost("two.example", port, events, at("127.0.0.2", "127.0.0.1"));
  expect(await greeted.promise).toBe("hello");
  await expect(dialHost("none.example", port, events, at("127.0.0.2", "127.0.0.3"))).rejects.toThrow(
    `cannot connect to none.example:${port}: ECONNREFUSED`,
  );
  await dialHost("127.0.0.1", port, events, at("127.0.0.2", "127.0.0.3"));
  const local = { ...at("127.0.0.2", "127.0.0.1"), localAddress: "127.0.0.1" };
  await dialHost("four.example", port, events, local);
  expect(asked).toEqual([
    ["two.example", 0],
    ["none.example", 0],
    ["four.example", 4],
  ]);
  listener.stop(true);
});
