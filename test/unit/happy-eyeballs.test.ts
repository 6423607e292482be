/** Happy eyeballs: which of a host's addresses is taken, and what becomes of the others. */
import { expect, test } from "bun:test";
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
