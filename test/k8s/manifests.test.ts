/** The manifests, rendered and checked without a cluster; and that the checks would see mistakes. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { version } from "../../src/broker/version.ts";
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
  ["a secret that is not there", (all) => (find(all, "Secret", "mqttzoo-link").metadata.name = "other")],
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
