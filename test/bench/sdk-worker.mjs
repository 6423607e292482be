// One process, one library, one figure: publishes and receives on two connections of its own, as an application does.
// Arguments: which library (ours: the path of our package; or "mqtt"), URL, QoS, messages, protocol version. Prints JSON.
import process from "node:process";

const [library, url, qosText, countText, versionText] = process.argv.slice(2);
const qos = Number(qosText);
const count = Number(countText);
const version = Number(versionText);
const payload = new Uint8Array(64).fill(120);
const topic = `bench/${process.pid}`;
/** Publishes that are not settled, where the library leaves that to the application. */
const inflight = 1000;

/** Keeps so many publishes going at once, and resolves when all are settled. */
async function publishAll(publish) {
  const open = [];
  for (let sent = 0; sent < count; sent++) {
    open.push(publish());
    if (open.length === inflight) await Promise.all(open.splice(0));
  }
  await Promise.all(open);
}

async function ours() {
  const { connect } = await import(library);
  const options = { version };
  const [publisher, subscriber] = await Promise.all([connect(url, options), connect(url, options)]);
  const messages = await subscriber.subscribe(topic, { qos, bufferMax: count });
  return {
    publish: () => publisher.publish(topic, payload, { qos }),
    async receive() {
      let received = 0;
      for await (const message of messages) {
        if (message.payload.length !== payload.length) throw new Error("damaged");
        if (++received === count) return;
      }
    },
    end: () => Promise.all([publisher.end(), subscriber.end()]),
  };
}

async function theirs() {
  const mqtt = (await import("mqtt")).default;
  const options = { protocolVersion: version, reconnectPeriod: 0 };
  const [publisher, subscriber] = await Promise.all([mqtt.connectAsync(url, options), mqtt.connectAsync(url, options)]);
  const all = {};
  all.promise = new Promise((resolve) => (all.resolve = resolve));
  let received = 0;
  subscriber.on("message", (_, bytes) => {
    if (bytes.length !== payload.length) throw new Error("damaged");
    if (++received === count) all.resolve();
  });
  await subscriber.subscribeAsync(topic, { qos });
  return {
    publish: () => publisher.publishAsync(topic, payload, { qos }),
    receive: () => all.promise,
    end: () => Promise.all([publisher.endAsync(), subscriber.endAsync()]),
  };
}

const { publish, receive, end } = await (library === "mqtt" ? theirs() : ours());
const before = process.cpuUsage();
const startedAt = performance.now();
await Promise.all([receive(), publishAll(publish)]);
const seconds = (performance.now() - startedAt) / 1000;
const { user, system } = process.cpuUsage(before);
await end();
console.log(JSON.stringify({ perSecond: count / seconds, perCpuSecond: count / ((user + system) / 1e6) }));
process.exit(0);
