// `bun test/bench/many-clients.mjs LIBRARY URL COUNT`: so many clients of the library in this process, each with one
// subscription, at a broker that runs already: what each takes of memory, when all is quiet, and after a message each.
const [library, url, count] = process.argv.slice(2);
const { connect } = await import(library);
const many = Number(count);

async function quietBytes() {
  for (let left = 5; left > 0; left--) {
    globalThis.Bun?.gc(true);
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return process.memoryUsage().rss;
}

async function inBatches(begin) {
  const all = [];
  while (all.length < many) {
    const from = all.length;
    all.push(...(await Promise.all(Array.from({ length: Math.min(200, many - from) }, (_, n) => begin(from + n)))));
  }
  return all;
}

const warm = await Promise.all(Array.from({ length: 50 }, () => connect(url)));
await Promise.all(warm.map((client) => client.end()));
const before = await quietBytes();
const clients = await inBatches((n) => connect(url, { clientId: `many-${n}`, keepAliveMs: 600_000 }));
const subscriptions = await inBatches((n) => clients[n].subscribe(`many/${n}`));
const connected = await quietBytes();
const next = subscriptions.map((messages) => messages.next());
await Promise.all(clients.map((client, n) => client.publish(`many/${(n + 1) % many}`, "x", { qos: 1 })));
const received = (await Promise.all(next)).filter(({ done }) => !done).length;
const after = await quietBytes();
const perClient = (bytes) => Math.round((bytes - before) / many);
console.log(
  JSON.stringify({ clients: many, received, bytesPerClient: perClient(connected), afterMessages: perClient(after) }),
);
process.exit(0);
