// A client's store under Node, life after life: prints what came of it as JSON. Arguments: library, URL of a
// broker, folder.
import { writeFileSync } from "node:fs";

const [library, url, folder] = process.argv.slice(2);
const { connect, sqliteStore } = await import(library);
const nowhere = "mqtt://127.0.0.1:1";
const path = `${folder}/store.sqlite`;

const open = (at, options = {}) =>
  connect(at, {
    clientId: "c",
    sessionExpiryMs: 600_000,
    retry: "for ever",
    store: sqliteStore(path),
    ...options,
  });

/** What a connection is refused with. */
async function refusal(options) {
  try {
    await (await open(nowhere, options)).end({ timeoutMs: 0 });
    return "none";
  } catch ({ name, message }) {
    return `${name}: ${message.replaceAll(folder, "")}`;
  }
}

const first = await open(nowhere);
const messages = [
  ["", { qos: 1 }],
  [new Uint8Array([0, 255, 1]), { qos: 2 }],
  ["properties", { qos: 2, userProperties: { n: "1" }, contentType: "x/y", expiryMs: 600_000 }],
];
for (const [payload, options] of messages) first.publish("kept", payload, options).catch(() => {});
await first.stored();
const inUse = await refusal({});
await first.end({ timeoutMs: 0 });

const reader = await connect(url);
const got = await reader.subscribe("kept", { qos: 2 });
const second = await open(url);
const received = [];
for await (const { payload, qos, userProperties, contentType } of got) {
  received.push({ payload: [...payload], qos, userProperties, contentType });
  if (received.length === messages.length) break;
}
while (second.pending > 0) await second.flush();
await second.end();
await reader.end();

const third = await open(nowhere);
const left = third.pending;
await third.end({ timeoutMs: 0 });
const other = await refusal({ clientId: "d" });
const noFolder = await refusal({ store: sqliteStore(`${folder}/no/such/folder`) });
writeFileSync(path, "x".repeat(10_000));
console.log(JSON.stringify({ inUse, received, left, other, noFolder, damaged: await refusal({}) }));
