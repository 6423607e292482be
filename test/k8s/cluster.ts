/**
 * `bun run test:k8s -- --load 'COMMAND {}' [--keep]`: on the cluster of the current kubectl context, which must be one
 * that nobody needs: builds the images (ZooKeeper's from Debian's package), has COMMAND load their archives, applies
 * the manifests in an overlay for a small machine, and then deletes pods, restarts the brokers in turn and scales them
 * while clients outside publish and subscribe through the service. The history is judged by the chaos tests' judges.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { hashPassword } from "../../src/access/hashes.ts";
import { ClientSession } from "../../src/client/client-session.ts";
import { History } from "../chaos/history.ts";
import { Publisher, Worker } from "../chaos/workers.ts";
import { eventually } from "../support/broker.ts";
import { fail, findBuilder, run } from "../tools/rootfs.ts";
import type { Manifest } from "./kustomize.ts";

const root = join(import.meta.dir, "../..");
const place = "mqttzoo";
const healMaxMs = 90_000;
/** The only user who may come in. */
const login = { username: "tester", password: "only-for-this-test" };
const loginWords = ["-u", login.username, "-P", login.password];

function option(name: string): string | undefined {
  const at = process.argv.indexOf(name);
  return at === -1 ? undefined : process.argv[at + 1];
}

const kubectl = (...words: readonly string[]): string => run(["kubectl", "-n", place, ...words]);
const get = (...words: readonly string[]): Manifest => JSON.parse(kubectl("get", ...words, "-o", "json"));

function say(what: string): void {
  console.log(`${new Date().toISOString().slice(11, 19)}  ${what}`);
}

/** The image of ours that stands for ZooKeeper's own, which the manifests name by its digest. */
const zookeeperTag = "docker.io/library/zookeeper:3.9";

/** Builds both images, and has them loaded. */
function loadImages(command: string): void {
  const folder = mkdtempSync(join(tmpdir(), "mqttzoo-k8s-"));
  const builder = findBuilder();
  for (const [tool, tag] of [
    ["image.ts", "localhost/mqttzoo:0.1.0"],
    ["zookeeper-image.ts", zookeeperTag],
  ] as const) {
    say(run([process.execPath, join(root, "test/tools", tool), tag]).split("\n")[0]!);
    const archive = join(folder, `${tool}.tar`);
    if (builder === "docker") run(["docker", "save", "--output", archive, tag]);
    else run([builder, "push", tag, `docker-archive:${archive}:${tag}`]);
    run(["sh", "-c", command.replaceAll("{}", archive)]);
  }
  rmSync(folder, { recursive: true });
}

/** The manifests with less to work with; of Kubernetes before 1.21 budgets had another version. */
async function apply(): Promise<void> {
  const folder = mkdtempSync(join(root, "dist/k8s-"));
  writeFileSync(join(folder, "users"), `${login.username}:${await hashPassword(login.password)}\n`);
  writeFileSync(join(folder, "acl"), `user ${login.username}\ntopic readwrite #\n`);
  for (const name of ["link", "http"]) writeFileSync(join(folder, name), `${crypto.randomUUID()}\n`);
  writeFileSync(join(folder, "zookeeper"), `mqttzoo:${crypto.randomUUID()}\n`);
  const small = (memory: string): string => `{requests: {cpu: 50m, memory: ${memory}}}`;
  writeFileSync(
    join(folder, "kustomization.yaml"),
    `resources: [${relative(folder, join(root, "k8s"))}]
namespace: ${place}
secretGenerator:
  - {name: mqttzoo-access, behavior: merge, files: [users, acl]}
  - {name: mqttzoo, behavior: merge, files: [link, zookeeper, http]}
generatorOptions: {disableNameSuffixHash: true}
patches:
  - target: {kind: StatefulSet, name: mqttzoo}
    patch: |-
      - {op: replace, path: /spec/template/spec/containers/0/resources, value: ${small("64Mi")}}
  - target: {kind: StatefulSet, name: zookeeper}
    patch: |-
      - {op: replace, path: /spec/template/spec/containers/0/image, value: "${zookeeperTag}"}
      - {op: replace, path: /spec/template/spec/containers/0/resources, value: ${small("128Mi")}}
      - {op: replace, path: /spec/template/spec/containers/0/env/3/value, value: "192"}
  - target: {kind: ConfigMap, name: mqttzoo}
    patch: |-
      - {op: replace, path: /data/MQTTZOO_DRAIN_TIME, value: "5"}
`,
  );
  const rendered = run(["kubectl", "kustomize", folder]);
  const { minor } = JSON.parse(run(["kubectl", "version", "-o", "json"])).serverVersion;
  const isOld = Number.parseInt(minor, 10) < 21;
  const file = join(folder, "all.yaml");
  writeFileSync(file, isOld ? rendered.replaceAll("policy/v1\n", "policy/v1beta1\n") : rendered);
  run(["kubectl", "apply", "-f", file]);
  rmSync(folder, { recursive: true });
}

function rollout(name: string): void {
  kubectl("rollout", "status", `statefulset/${name}`, "--timeout=300s");
}

/** Where devices outside reach the service. */
async function address(): Promise<{ host: string; port: number }> {
  let host: string | undefined;
  const isThere = async (): Promise<boolean> => {
    const [ingress] = get("service", "mqttzoo").status.loadBalancer.ingress ?? [];
    host = ingress?.ip ?? ingress?.hostname;
    return host !== undefined;
  };
  await eventually(isThere, "the service has an address", 60_000);
  return { host: host!, port: 1883 };
}

/** A port of one pod, as long as it is used. */
async function withPort<Output>(pod: string, port: number, use: (port: number) => Promise<Output>): Promise<Output> {
  const command = ["kubectl", "-n", place, "port-forward", `pod/${pod}`, `:${port}`];
  const forward = Bun.spawn(command, { stdout: "pipe", stderr: "ignore" });
  let said = "";
  const reading = (async () => {
    for await (const bytes of forward.stdout) said += Buffer.from(bytes).toString();
  })();
  try {
    await eventually(() => /127\.0\.0\.1:(\d+) ->/.test(said), `a port of ${pod} is forwarded`, 20_000);
    return await use(Number(/127\.0\.0\.1:(\d+) ->/.exec(said)![1]));
  } finally {
    forward.kill();
    await reading;
  }
}

/** mosquitto's clients: one publishes through the service, the other subscribes at one pod. */
function tryForeign(host: string, port: number): Promise<void> {
  return withPort("mqttzoo-2", 1883, async (podPort) => {
    const words = [
      "-h",
      "127.0.0.1",
      "-p",
      String(podPort),
      "-t",
      "foreign/#",
      "-q",
      "1",
      "-C",
      "1",
      "-W",
      "20",
      ...loginWords,
    ];
    const subscriber = Bun.spawn(["mosquitto_sub", ...words], { stdout: "pipe" });
    const text = new Response(subscriber.stdout).text();
    const hear = async (): Promise<boolean> => {
      run([
        "mosquitto_pub",
        "-h",
        host,
        "-p",
        String(port),
        "-t",
        "foreign/x",
        "-m",
        "heard",
        "-q",
        "1",
        ...loginWords,
      ]);
      return subscriber.exitCode !== null;
    };
    await eventually(hear, "mosquitto_sub hears mosquitto_pub", 20_000);
    if ((await text).trim() !== "heard") fail("mosquitto_sub at one pod does not hear what came in by the service");
    say("mosquitto's clients: published through the service, heard at a pod");
  });
}

/** Asks a ZooKeeper server what it is. */
function askZooKeeper(pod: string): Promise<string> {
  return withPort(pod, 2181, (port) => askPort(port, pod));
}

async function askPort(port: number, pod: string): Promise<string> {
  let answer = "";
  await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open: (socket) => void socket.write("srvr"),
      data: (_, bytes) => {
        answer += bytes.toString();
      },
    },
  });
  await eventually(() => answer.includes("Mode: "), `${pod} says what it is`, 10_000).catch(() => {});
  return answer;
}

async function zooKeeperLeader(): Promise<string> {
  for (const pod of ["zookeeper-0", "zookeeper-1", "zookeeper-2"])
    if ((await askZooKeeper(pod)).includes("Mode: leader")) return pod;
  return fail("no ZooKeeper server says that it leads");
}

/**
 * Has everything leave the node of a pod, as for its maintenance, and lets it come back; on a cluster of one nobody
 * could.
 */
async function drainNode(pod: string): Promise<void> {
  const nodes = get("nodes").items.length;
  if (nodes === 1) return say("there is one node only: none is drained");
  const node: string = get("pod", pod).spec.nodeName;
  run(["kubectl", "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=300s"]);
  for (const set of ["zookeeper", "mqttzoo"]) rollout(set);
  run(["kubectl", "uncordon", node]);
}

async function main(): Promise<void> {
  const load = option("--load") ?? fail("name the command that loads an image archive: --load 'COMMAND {}'");
  loadImages(load);
  await apply();
  for (const name of ["zookeeper", "mqttzoo"]) rollout(name);
  const { host, port } = await address();
  say(`three brokers and three ZooKeeper servers are ready, at ${host}:${port}`);
  await tryForeign(host, port);

  const history = new History();
  const where = (): number => port;
  const publishers = ([1, 2, 1] as const).map(
    (qos, index) => new Publisher(`p${index + 1}`, { qos, prefix: "k8s", history, host, where, login }),
  );
  const listeners = ["s1", "s2"].map(
    (name) => new Worker(name, { session: new ClientSession(), history, host, where, login }),
  );
  const workers = [...publishers, ...listeners];
  const allUp = async (): Promise<boolean> => {
    for (const worker of workers) if (!worker.up) void worker.comeBack();
    return workers.every(({ up }) => up);
  };
  await eventually(allUp, "all clients are connected", 30_000);
  for (const listener of listeners) await listener.client!.subscribe(["k8s/#"], { qos: 2 });
  let isBusy = true;
  const working = (async () => {
    while (isBusy) {
      await allUp();
      for (const publisher of publishers) publisher.pump(2);
      await Bun.sleep(10);
    }
  })();

  const wrong = (): string[] => listeners.flatMap(({ name }) => history.judge(name));
  const events: readonly [string, () => Promise<unknown>][] = [
    ["a broker's pod is deleted", async () => kubectl("delete", "pod", "mqttzoo-1")],
    ["a broker's pod is killed", async () => kubectl("delete", "pod", "mqttzoo-2", "--grace-period=0", "--force")],
    [
      "the ZooKeeper leader's pod is killed",
      async () => kubectl("delete", "pod", await zooKeeperLeader(), "--grace-period=0", "--force"),
    ],
    ["a node is drained", () => drainNode("mqttzoo-1")],
    ["rolling update", async () => kubectl("rollout", "restart", "statefulset/mqttzoo")],
    ["three brokers become two", async () => kubectl("scale", "statefulset/mqttzoo", "--replicas=2")],
    ["and three again", async () => kubectl("scale", "statefulset/mqttzoo", "--replicas=3")],
  ];
  for (const [name, happen] of events) {
    const sent = history.sent.length;
    const startedAt = performance.now();
    await happen();
    for (const set of ["zookeeper", "mqttzoo"]) rollout(set);
    await Bun.sleep(3000);
    say(
      `${name}: done in ${((performance.now() - startedAt) / 1000).toFixed(0)} s, ${history.sent.length - sent} sent`,
    );
  }
  isBusy = false;
  await working;
  const isDone = async (): Promise<boolean> =>
    (await allUp()) && publishers.every(({ isSettled }) => isSettled) && wrong().length === 0;
  await eventually(isDone, "everything heals", healMaxMs).catch(() => {});
  const found = wrong();
  for (const line of found.slice(0, 20)) console.log(line);
  const audit = run(["kubectl", "-n", place, "exec", "mqttzoo-0", "--", "/mqttzoo", "bank", "audit"]).trim();
  say(
    `${history.sent.length} sent, ${history.acknowledgedCount} acknowledged, ${found.length} wrong; the bank: ${audit}`,
  );
  if (!process.argv.includes("--keep")) run(["kubectl", "delete", "namespace", place]);
  process.exit(found.length === 0 && audit === "it balances" ? 0 : 1);
}

await main();
