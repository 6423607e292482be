/** pub and sub that find their broker through ZooKeeper, and another one when it is gone. */
import { expect, test } from "bun:test";
import { eventually } from "../support/broker.ts";
import { startCluster } from "../support/cluster.ts";
import { executable, runExecutable } from "../support/process.ts";

test("--zk: a broker is found, and another one when it has gone; no cluster is said in words", async () => {
  const cluster = await startCluster(["a", "b"]);
  const child = Bun.spawn([executable, "sub", "--zk", cluster.zk, "-t", "found/#", "-v", "-i", "finder"], {
    stdout: "pipe",
  });
  let out = "";
  void (async () => {
    for await (const chunk of child.stdout) out += Buffer.from(chunk).toString();
  })();
  const hears = async (text: string): Promise<void> => {
    const publish = async (): Promise<boolean> => {
      const { code } = await runExecutable(["pub", "--zk", cluster.zk, "-t", "found/x", "-m", text, "-q", "1"]);
      return code === 0 && out.includes(`found/x ${text}`);
    };
    await eventually(publish, `${text} is heard`, 20_000);
  };
  await hears("one");
  const hosts = (server: (typeof cluster.brokers)[number]): boolean => server.broker.context.clients.has("finder");
  const first = cluster.brokers.find(hosts)!;
  await first.stop();
  await hears("two");
  expect(cluster.brokers.filter((server) => server !== first && hosts(server)).length).toBe(1);
  child.kill("SIGTERM");
  expect(await child.exited).toBe(0);
  const none = await runExecutable(["pub", "--zk", `${cluster.zk}/elsewhere`, "-t", "t", "-m", "x"]);
  expect([none.code, none.err]).toEqual([
    1,
    expect.stringMatching(/^mqttzoo: cannot read the brokers at .*no cluster at this chroot\n$/),
  ]);
  for (const server of cluster.brokers) if (server !== first) await server.stop();
}, 60_000);
