// Pipelined creates through the npm package `zookeeper`, the C client, under Node. argv: connect string, a path that
// exists, how many. Prints the seconds that they took.
import ZooKeeper from "zookeeper";

const [, , connect, root, count] = process.argv;
const client = new ZooKeeper({ connect, timeout: 30_000, debug_level: ZooKeeper.constants.ZOO_LOG_LEVEL_ERROR });
client.init({});
client.once("connect", async () => {
  const data = Buffer.alloc(256, 0x78);
  const startedAt = performance.now();
  let left = Number(count);
  for (let index = 0; index < Number(count); index++) {
    client.a_create(`${root}/n${index}`, data, ZooKeeper.constants.ZOO_PERSISTENT, (code, text) => {
      if (code !== 0) throw new Error(text);
      left--;
      if (left > 0) return;
      console.log((performance.now() - startedAt) / 1000);
      client.close();
      process.exit(0);
    });
  }
});
