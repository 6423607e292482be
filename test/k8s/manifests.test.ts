/** The manifests, rendered and checked without a cluster; and that the checks would see mistakes. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Acl } from "../../src/access/acl.ts";
import { finish } from "../../src/base/slices.ts";
import { version } from "../../src/broker/core/version.ts";
import { readSecret } from "../../src/server/operator-files.ts";
import { freePort } from "../bench/brokers.ts";
import { startBroker } from "../support/broker.ts";
import { faultsOf } from "./checks.ts";
import { kustomizationsOf, type Manifest, render } from "./kustomize.ts";

const root = join(import.meta.dir, "../../k8s");

test.each(kustomizationsOf(root))("%s is right", async (folder) => {
  expect(await faultsOf(render(folder), version)).toEqual([]);
});

const find = (manifests: readonly Manifest[], kind: string, name: string): Manifest =>
  manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
const podOf = (manifests: readonly Manifest[], name: string): Manifest =>
  find(manifests, "StatefulSet", name).spec.template.spec;

/** Each makes one mistake. */
const mistakes: readonly [string, (manifests: Manifest[]) => void][] = [
  ["replicas as text", (all) => (find(all, "StatefulSet", "mqttzoo").spec.replicas = "three")],
  ["a service that selects nothing", (all) => (find(all, "Service", "mqttzoo").spec.selector = { app: "x" })],
  [
    "a service to a port that is not there",
    (all) => (find(all, "Service", "mqttzoo").spec.ports[0].targetPort = "mqqt"),
  ],
  ["a set that does not select its pods", (all) => (podLabels(all, "zookeeper")["app.kubernetes.io/name"] = "zk")],
  ["a headless service by another name", (all) => (find(all, "StatefulSet", "mqttzoo").spec.serviceName = "links")],
  ["a probe at no port", (all) => (podOf(all, "mqttzoo").containers[0].readinessProbe.httpGet.port = "web")],
  ["no liveness probe", (all) => delete podOf(all, "zookeeper").containers[0].livenessProbe],
  [
    "a budget for nothing",
    (all) => (find(all, "PodDisruptionBudget", "zookeeper").spec.selector = { matchLabels: {} }),
  ],
  ["a budget for two", (all) => (find(all, "PodDisruptionBudget", "zookeeper").spec.maxUnavailable = 2)],
  ["a policy for no port", (all) => (find(all, "NetworkPolicy", "mqttzoo").spec.ingress[0].ports[0].port = "mqqt")],
  ["root", (all) => (podOf(all, "mqttzoo").securityContext.runAsNonRoot = false)],
  ["capabilities", (all) => (podOf(all, "zookeeper").containers[0].securityContext.capabilities.drop = [])],
  ["a mount without a volume", (all) => podOf(all, "mqttzoo").volumes.pop()],
  ["an option that is none", (all) => (find(all, "ConfigMap", "mqttzoo").data.MQTTZOO_DRAINTIME = "3")],
  ["another version", (all) => (podOf(all, "mqttzoo").containers[0].image = "localhost/mqttzoo:0.0.1")],
  ["service links", (all) => delete podOf(all, "mqttzoo").enableServiceLinks],
  ["a grace period that is too short", (all) => (podOf(all, "mqttzoo").terminationGracePeriodSeconds = 20)],
  ["another http port", (all) => (find(all, "ConfigMap", "mqttzoo").data.MQTTZOO_HTTP_PORT = "9090")],
  ["a secret that is not there", (all) => (find(all, "Secret", "mqttzoo").metadata.name = "other")],
  ["a secret without what is asked of it", (all) => delete find(all, "Secret", "mqttzoo").data.zookeeper],
  [
    "a root that may be written",
    (all) => delete podOf(all, "zookeeper").containers[0].securityContext.readOnlyRootFilesystem,
  ],
  ["a way to anywhere", (all) => find(all, "NetworkPolicy", "zookeeper").spec.policyTypes.pop()],
  [
    "metrics for everybody",
    (all) => (find(all, "NetworkPolicy", "mqttzoo").spec.ingress[2].from = [{ namespaceSelector: {} }]),
  ],
  ["an access list that is nowhere", (all) => delete find(all, "Secret", "mqttzoo-access").data.acl],
  ["more servers than are named", (all) => (find(all, "StatefulSet", "zookeeper").spec.replicas = 5)],
  ["brokers on another ensemble", (all) => (find(all, "ConfigMap", "mqttzoo").data.MQTTZOO_ZK = "zk:2181")],
];

function podLabels(all: readonly Manifest[], name: string): Record<string, string> {
  return find(all, "StatefulSet", name).spec.template.metadata.labels;
}

test.each(mistakes)("%s would be seen", async (_, make) => {
  const manifests = render(root);
  make(manifests);
  expect(await faultsOf(manifests, version)).not.toEqual([]);
});

test("brokers do not start with the secrets that are published here", () => {
  const folder = join(root, "base/secrets");
  const names = readdirSync(folder);
  expect(names.sort()).toEqual(["http", "link", "zookeeper"]);
  for (const name of names) {
    const path = join(folder, name);
    expect(() => readSecret(path)).toThrow(`the secret in ${path} is the published "change-me": write one of your own`);
  }
});

test("a user gets what the access list says, and no other user's topics", () => {
  const acl = finish(Acl.read(readFileSync(join(root, "base/acl"), "utf8")));
  const alice = acl.permissionsOf({ username: "alice", clientId: "c" });
  const may = (topic: string): boolean[] => [alice.mayPublish(topic), alice.mayReceive(topic)];
  expect([may("users/alice/door"), may("users/bob/door"), may("all/news")]).toEqual([
    [true, true],
    [false, false],
    [false, true],
  ]);
});

test("the http port is for one namespace, and pods connect to nothing that they do not need", () => {
  const all = render(root);
  const { ingress } = find(all, "NetworkPolicy", "mqttzoo").spec;
  const [http] = ingress.filter(({ ports }: Manifest) => ports.some(({ port }: Manifest) => port === "http"));
  expect(http.from).toEqual([{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "monitoring" } } }]);
  const ways = (name: string): unknown[] =>
    find(all, "NetworkPolicy", name).spec.egress.map(({ ports = [] }: Manifest) =>
      ports.map(({ port }: Manifest) => port),
    );
  expect([ways("mqttzoo"), ways("zookeeper")]).toEqual([
    [["link"], [2181], [53, 53]],
    [[], [53, 53]],
  ]);
});

test("in production devices come over TLS alone, and brokers to each other", () => {
  const { data } = find(render(join(root, "overlays/production")), "ConfigMap", "mqttzoo");
  expect([data.MQTTZOO_PORT, data.MQTTZOO_TLS_PORT, data.MQTTZOO_LINK_TLS]).toEqual(["none", "8883", "true"]);
});

test("the optional parts: the dashboard and the autoscaler ask for metrics that there are, the monitor for a port", async () => {
  const httpPort = await freePort();
  const broker = await startBroker({ httpPort, httpHost: "127.0.0.1" });
  const page = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
  await broker.stop();
  const there = new Set([...page.matchAll(/^(?:# TYPE )?([a-z_]+)/gm)].map(([, name]) => name));
  const optional = (name: string): Manifest => Bun.YAML.parse(readFileSync(join(root, "optional", name), "utf8"));
  const dashboard = JSON.parse(optional("dashboard.yaml").data["mqttzoo.json"]);
  const asked = dashboard.panels.flatMap(({ targets }: Manifest) =>
    targets.flatMap(({ expr }: Manifest) => expr.match(/\b(?:mqttzoo|process)_[a-z_]+/g)),
  );
  expect(asked.length).toBeGreaterThan(10);
  const alerts = optional("alerts.yaml").spec.groups.flatMap(({ rules }: Manifest) =>
    rules.flatMap(({ expr }: Manifest) => expr.match(/\b(?:mqttzoo|process)_[a-z_]+/g) ?? []),
  );
  expect(alerts.length).toBeGreaterThan(20);
  asked.push(...alerts.filter((name: string) => !name.includes("_tls_")));
  // A link's metric is there when there is a link.
  for (const name of asked) expect([name, there.has(name)]).toEqual([name, true]);
  const { spec } = optional("autoscaler.yaml");
  expect(there.has(spec.metrics[0].pods.metric.name)).toBe(true);
  expect(find(render(root), spec.scaleTargetRef.kind, spec.scaleTargetRef.name)).toBeDefined();
  const { podMetricsEndpoints, selector } = optional("pod-monitor.yaml").spec;
  const pods = find(render(root), "StatefulSet", "mqttzoo").spec.template;
  expect(pods.metadata.labels).toMatchObject(selector.matchLabels);
  expect(pods.spec.containers[0].ports.map(({ name }: Manifest) => name)).toContain(podMetricsEndpoints[0].port);
});
