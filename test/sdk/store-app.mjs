// An application that publishes to a client's store, and is killed: prints the number of each message when `publish` has
// returned. Arguments: library, URL, path of the store, first number, how many, QoS.
const [library, url, path, first, count, qos] = process.argv.slice(2);
const { connect, sqliteStore } = await import(library);
const client = await connect(url, {
  clientId: "app",
  sessionExpiryMs: 3_600_000,
  retry: "for ever",
  reconnect: { minMs: 1, maxMs: 20 },
  store: sqliteStore(path),
});
const { writeSync } = await import("node:fs");
for (let number = Number(first); number < Number(first) + Number(count); number++) {
  client.publish("numbers", String(number), { qos: Number(qos) });
  writeSync(1, `${number}\n`);
  if (number % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
}
while (client.pending > 0) await new Promise((resolve) => setTimeout(resolve, 5));
writeSync(1, "settled\n");
await client.end();
