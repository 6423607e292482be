// Builds and reads a tree through the npm package `zookeeper`, the C client, under Node: argv is the connect string and
// a path that exists. Prints what it was refused and the tree below the path, as JSON.
import ZooKeeper from "zookeeper";

const [, , connect, root] = process.argv;
const client = new ZooKeeper({ connect, timeout: 10_000, debug_level: ZooKeeper.constants.ZOO_LOG_LEVEL_ERROR });
const c = ZooKeeper.constants;

/** Calls one of its functions, whose callbacks are given a code, a text and the answers. */
function ask(name, ...args) {
  return new Promise((resolve, reject) => {
    client[name](...args, (code, text, ...answers) => {
      if (code === 0) resolve(answers);
      else reject(Object.assign(new Error(text), { code }));
    });
  });
}

const refused = async (promise) =>
  promise.then(
    () => "taken",
    (error) => error.code,
  );

async function tree(path) {
  const [stat, data] = await ask("a_get", path, false);
  const [names] = await ask("a_get_children", path, false);
  const below = {};
  for (const name of names.sort()) below[name] = await tree(`${path}/${name}`);
  // Sixteen digits of a hexadecimal number.
  const owner = BigInt.asUintN(64, BigInt(`0x${stat.ephemeralOwner.toString().padStart(16, "0")}`));
  const ephemeral = owner !== 0n && owner !== 1n << 63n && owner >> 56n !== 0xffn;
  return { data: Buffer.from(data ?? "").toString("hex"), version: stat.version, ephemeral, below };
}

client.init({});
client.once("connect", async () => {
  const at = (name) => `${root}/${name}`;
  await ask("a_create", at("from-addon"), Buffer.from([0, 255, 7]), c.ZOO_PERSISTENT);
  await ask("a_create", at("from-addon/s-"), "1", c.ZOO_PERSISTENT_SEQUENTIAL);
  await ask("a_create", at("from-addon/e"), "mine", c.ZOO_EPHEMERAL);
  await ask("a_create", at("from-addon/es-"), "mine", c.ZOO_EPHEMERAL_SEQUENTIAL);
  await ask("a_create", at("from-addon/container"), "", c.ZOO_CONTAINER);
  await ask("a_createTtl", at("from-addon/ttl"), "t", c.ZOO_PERSISTENT_WITH_TTL, 60_000);
  await ask("a_createTtl", at("from-addon/ttls-"), "t", c.ZOO_PERSISTENT_SEQUENTIAL_WITH_TTL, 60_000);
  const [stat] = await ask("a_set", at("from-addon"), "changed", 0);
  await ask("a_set", at("from-here/shared"), "changed there", 0);
  await ask("a_delete_", at("from-here/doomed"), -1);
  const refusals = [
    await refused(ask("a_set", at("from-addon"), "x", 0)),
    await refused(ask("a_create", at("from-addon"), "x", c.ZOO_PERSISTENT)),
    await refused(ask("a_delete_", at("from-addon"), -1)),
    await refused(ask("a_exists", at("none"), false)),
    await refused(ask("a_get", `${root}-guarded`, false)),
  ];
  const [acl] = await ask("a_get_acl", at("from-here"));
  await ask("a_sync", root);
  console.log(JSON.stringify({ version: stat.version, refusals, acl, tree: await tree(root) }));
  // It stays until it has been looked at: what is ephemeral goes with it.
  process.stdin.once("data", () => {
    client.close();
    process.exit(0);
  });
});
