/** MQTT.js (npm) under Node: subscribes when connected; prints what comes. Arguments: port, protocol version. */
import mqtt from "mqtt";

const [port, version] = process.argv.slice(2);
const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { protocolVersion: Number(version) });
client.on("error", () => {});
client.on("connect", () => client.subscribe("restart"));
client.on("message", (_, payload) => console.log(`${payload}`));
