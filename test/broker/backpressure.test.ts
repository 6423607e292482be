/** A store that is behind: whoever needs it waits, in bounded number, and what had gone by then is not waited for. */
import { expect, test } from "bun:test";
import { systemClock } from "../../src/base/clock.ts";
import { journalBytesMax, journalUnitsMax, storeLookMs } from "../../src/base/limits.ts";
import { Journal } from "../../src/mail/journal.ts";
import { instantCoordinator } from "../support/instant-coordinator.ts";
import { machine } from "../support/machine.ts";

const connectPlain = "100d 0004 4d515454 04 02 0000 0001 70";
/** Without Clean Session. */
const connectLasting = "100d 0004 4d515454 04 00 0000 0001 70";
/** With a will on topic "w". */
const connectWithWill = (id: string): string =>
  `1018 0004 4d515454 04 06 0000 0006 ${Buffer.from(id.padStart(6, "0")).toString("hex")} 0001 77 0001 67`;
const subscribe = (packetId: string): string => `8206 ${packetId} 0001 77 00`;
const disconnect = "e000";
const connack = "20020000";

async function scene() {
  const coordinator = instantCoordinator();
  const { broker, dial, pass } = await machine(coordinator);
  const { journal, metrics, localSessions } = broker.context;
  const hex = (peer: ReturnType<typeof dial>): string => Buffer.from(peer.state.sent.splice(0)).toString("hex");
  const close = ({ connection }: ReturnType<typeof dial>): void =>
    broker.handle({ kind: "closed", connection, why: undefined });
  const stop = (): void => {
    coordinator.answers = false;
    journal.commit([{ kind: "put", path: "/x", data: new Uint8Array(journalBytesMax), exists: true }]);
  };
  const goOn = async (): Promise<void> => {
    coordinator.answers = true;
    coordinator.release();
    await Promise.resolve();
    // A SUBSCRIBE looks now and then whether the store has caught up; what comes after it goes on in turns of its own.
    for (let turn = 0; turn < 3; turn++) {
      pass(storeLookMs);
      await Promise.resolve();
    }
  };
  return { dial, hex, close, stop, goOn, journal, metrics, localSessions };
}

test("a CONNECT that needs the store waits, one that does not is answered; who has gone is not waited for", async () => {
  const { dial, hex, close, stop, goOn, journal, metrics, localSessions } = await scene();
  stop();
  const devices = Array.from({ length: 100 }, (_, index) => {
    const device = dial();
    device.send(connectWithWill(String(index)) + subscribe("0001"));
    return device;
  });
  const plain = dial();
  plain.send(connectPlain);
  await Promise.resolve();
  expect(hex(plain)).toBe(connack);
  expect(journal.pendingUnits).toBe(1);
  for (const device of devices.slice(0, 50)) close(device);
  expect(metrics.connections).toBe(51);
  expect(devices.filter(({ connection }) => connection.channel.phase === "connecting")).toHaveLength(50);
  await goOn();
  expect(devices.map(hex)).toEqual(devices.map((_, index) => (index < 50 ? "" : `${connack}9003000100`)));
  expect(localSessions.size).toBe(51);
  expect(journal.pendingUnits).toBe(0);
});

test("who subscribes while the store is behind is not read before it has caught up", async () => {
  const { dial, hex, stop, goOn } = await scene();
  const device = dial();
  device.send(connectPlain);
  await Promise.resolve();
  expect(hex(device)).toBe(connack);
  stop();
  device.send(subscribe("0001"));
  device.send(subscribe("0002"));
  expect(device.connection.isHeld).toBe(true);
  expect(device.connection.framer.pending).toBe(true);
  await goOn();
  expect(hex(device)).toBe("90030001009003000200");
  expect(device.connection.isHeld).toBe(false);
});

test("a client whose acks the store must take down is not read while the store is behind", async () => {
  const { dial, hex, stop, goOn } = await scene();
  const device = dial();
  device.send(connectLasting);
  await Promise.resolve();
  expect(hex(device)).toBe(connack);
  for (const packetId of ["0001", "0002"]) device.send(`3406 0001 77 ${packetId} 67`);
  await Promise.resolve();
  expect(hex(device)).toBe("5002000150020002");
  stop();
  device.send("62020001");
  device.send("62020002");
  expect(device.connection.isHeld).toBe(true);
  expect(device.connection.framer.pending).toBe(true);
  await goOn();
  expect(
    hex(device)
      .match(/70020{3}./g)
      ?.toSorted(),
  ).toEqual(["70020001", "70020002"]);
  expect(device.connection.isHeld).toBe(false);
});

test("units are counted, not only bytes", () => {
  const coordinator = { ...instantCoordinator(), answers: false };
  const journal = new Journal(coordinator, systemClock);
  for (let unit = 1; unit < journalUnitsMax; unit++) journal.commit([{ kind: "remove", path: `/${unit}` }]);
  expect(journal.full).toBe(false);
  journal.commit([{ kind: "remove", path: "/last" }]);
  expect(journal.full).toBe(true);
});

test("a DISCONNECT that was sent before the connection closed counts, though nobody had read it", async () => {
  for (const leaves of [true, false]) {
    const { dial, hex, close, stop, goOn, metrics, localSessions } = await scene();
    const watcher = dial();
    watcher.send(connectPlain + subscribe("0001"));
    const device = dial();
    device.send(connectWithWill("1"));
    await Promise.resolve();
    hex(watcher);
    stop();
    device.send(subscribe("0002"));
    device.send(subscribe("0003") + (leaves ? disconnect : ""));
    close(device);
    expect(metrics.connections).toBe(1);
    await goOn();
    expect(hex(watcher)).toBe(leaves ? "" : "30040001 7767".replace(" ", ""));
    expect(localSessions.size).toBe(1);
    expect(metrics.connections).toBe(1);
  }
});
