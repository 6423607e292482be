/** The manifests, rendered and checked without a cluster; and that the checks would see mistakes. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { version } from "../../src/broker/core/version.ts";
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
  ["a secret without what is asked of it", (all) => delete find(all, "Secret", "mqttzoo").stringData.zookeeper],
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
