/** pub and sub that find their broker through ZooKeeper, and another one when it is gone. */
import { expect, test } from "bun:test";
import { eventually } from "../support/broker.ts";
import { startCluster } from "../support/cluster.ts";
import { executable, runExecutable } from "../support/process.ts";
import { RawClient } from "../support/raw-client.ts";

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
    await eventually(publish, `${text} is heard`, 60_000);
  };
  await hears("one");
  const hosts = (server: (typeof cluster.brokers)[number]): boolean =>
    server.broker.context.localSessions.has("finder");
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
}, 120_000);

test("pub -l goes on at another broker when one dies: every line arrives, in order", async () => {
  const cluster = await startCluster(["a", "b"]);
  const [a, b] = cluster.brokers;
  const hosts = [0, 1].map((index) => `127.0.0.1:${cluster.port(index)}`).join(",");
  const listener = await RawClient.connect(cluster.port(1), { protocolVersion: 5 });
  await listener.subscribe("lines", { qos: 1 });
  const child = Bun.spawn([executable, "pub", "-h", hosts, "-i", "lines", "-t", "lines", "-l", "-q", "1"], {
    stdin: "pipe",
    stderr: "pipe",
  });
  const lines = Array.from({ length: 40 }, (_, index) => `line ${index}`);
  const seen: string[] = [];
  const write = (from: number, to: number): void => {
    for (const line of lines.slice(from, to)) child.stdin.write(`${line}\n`);
    child.stdin.flush();
  };
  const hear = async (): Promise<void> => {
    const { payload, messageId } = await listener.take("publish");
    listener.send({ cmd: "puback", messageId });
    if (!seen.includes(payload.toString())) seen.push(payload.toString());
  };
  write(0, 20);
  while (seen.length < 20) await hear();
  expect(a!.broker.context.localSessions.has("lines")).toBe(true);
  await a!.stop();
  write(20, 40);
  child.stdin.end();
  while (seen.length < 40) await hear();
  expect(seen).toEqual(lines);
  expect(await child.exited).toBe(0);
  expect(await new Response(child.stderr).text()).toContain("connecting again");
  await b!.stop();
}, 120_000);
