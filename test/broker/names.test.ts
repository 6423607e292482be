/**
 * All of UTF-8 is a topic, a filter, a client id: also what ZooKeeper forbids in a name, on the store that is no
 * ZooKeeper.
 */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { startBroker } from "../support/broker.ts";
import { useEverywhere, words } from "../support/named.ts";
import { RawClient } from "../support/raw-client.ts";

test.each(words)("%j is every name that a client may give", async (word) => {
  const broker = await startBroker({ mailDrop: [`drop ${word}/#`] });
  await useEverywhere(word, { near: broker.port, far: broker.port });
  const again = await broker.restart();
  await useEverywhere(word, { near: again.port, far: again.port });
  await again.stop();
});

/** As the first format had it: characters above U+FFFF stand as they are, in names and in what names them. */
function decodeNames(folder: string): number {
  const db = new Database(join(folder, "tree.db"));
  db.exec("PRAGMA busy_timeout = 5000");
  const decode = (text: string): string => text.replaceAll("%F0%9F%98%80", "😀");
  const rows = db.query<{ parent: string; name: string; data: Uint8Array }, []>("SELECT * FROM node").all();
  let changed = 0;
  for (const { parent, name, data } of rows) {
    // A path at the end of a slip has no length of its own before it.
    const text = Buffer.from(data).toString("latin1").replaceAll("%F0%9F%98%80", Buffer.from("😀").toString("latin1"));
    const change = db
      .query("UPDATE node SET parent = ?, name = ?, data = ? WHERE parent = ? AND name = ?")
      .run(decode(parent), decode(name), Buffer.from(text, "latin1"), parent, name);
    if (decode(parent + name) !== parent + name || text.length !== data.length) changed += change.changes;
  }
  db.exec("ALTER TABLE node DROP COLUMN checksum; PRAGMA user_version = 0");
  for (const column of ["rows", "digest", "checksum"]) db.exec(`ALTER TABLE counter DROP COLUMN ${column}`);
  db.close();
  return changed;
}

test("what an earlier version has stored under such names is found", async () => {
  const keeps = { clean: false, clientId: "c 😀", protocolVersion: 5, properties: { sessionExpiryInterval: 600 } };
  const first = await startBroker();
  const away = await RawClient.connect(first.port, keeps);
  await away.subscribe("t/😀/#", { qos: 1 });
  away.disconnect();
  const publisher = await RawClient.connect(first.port);
  publisher.publish("t/😀/x", "kept", { qos: 1, messageId: 1, retain: true });
  await publisher.take("puback");
  await first.server.stop();
  expect(decodeNames(first.folder)).toBeGreaterThan(5);

  const second = await startBroker({ data: first.folder });
  const back = await RawClient.connect(second.port, keeps);
  expect(back.connack.sessionPresent).toBe(true);
  expect(String((await back.take("publish")).payload)).toBe("kept");
  const late = await RawClient.connect(second.port);
  await late.subscribe("t/😀/x");
  expect(String((await late.take("publish")).payload)).toBe("kept");
  const other = await RawClient.connect(second.port);
  other.publish("t/😀/y", "new", { qos: 1, messageId: 1 });
  await other.take("puback");
  expect(String((await back.take("publish")).payload)).toBe("new");
  await second.stop();
});
