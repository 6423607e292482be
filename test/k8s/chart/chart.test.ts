/** The Helm chart makes what the kustomizations make: one of them is written twice, and must not drift. */
import { afterAll, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { version } from "../../../src/broker/core/version.ts";
import { faultsOf } from "../checks.ts";
import { type Manifest, render } from "../kustomize.ts";
import { ChartRenderer, chart, type Values, valuesIn } from "./chart.ts";

const manifests = join(chart, "..");
const renderer = new ChartRenderer();
afterAll(() => renderer.close());

/** The secrets that are published with the kustomizations. */
const published: Values = {
  secrets: Object.fromEntries(
    readdirSync(join(manifests, "base/secrets")).map((name) => [
      name,
      readFileSync(join(manifests, "base/secrets", name), "utf8"),
    ]),
  ),
};

/** Returns objects by kind and name. Helm is given the namespace, and makes it itself. */
function byName(all: readonly Manifest[]): Record<string, Manifest> {
  const own = all.filter(({ kind }) => kind !== "Namespace");
  for (const { metadata } of own) delete metadata.namespace;
  return Object.fromEntries(own.map((manifest) => [`${manifest.kind} ${manifest.metadata.name}`, manifest]));
}

const overlays = readdirSync(join(chart, "ci")).map((name) => name.replace("-values.yaml", ""));

test("there are values for each overlay", () => {
  expect(overlays.toSorted()).toEqual(readdirSync(join(manifests, "overlays")).toSorted());
});

test.each([undefined, ...overlays])("the chart makes what the kustomization makes: %s", async (overlay) => {
  const values = overlay === undefined ? {} : valuesIn(`ci/${overlay}-values.yaml`);
  const made = renderer.render({ ...values, ...published });
  expect(made.length).toBeGreaterThan(6);
  const due = render(overlay === undefined ? manifests : join(manifests, "overlays", overlay));
  expect(byName(made)).toEqual(byName(due));
  // Options that are none, ports and probes that do not fit: as of the kustomizations.
  expect(await faultsOf(renderer.render({ ...values, ...published }), version)).toEqual([]);
});

test("the chart's version is the broker's", () => {
  expect(valuesIn("Chart.yaml")).toMatchObject({ version, appVersion: version });
});

test("secrets that nobody has given are drawn by chance, and the names of one's own are taken", () => {
  const secretsIn = (all: readonly Manifest[]): Manifest[] => all.filter(({ kind }) => kind === "Secret");
  const drawn = secretsIn(renderer.render()).find(({ metadata }) => metadata.name === "mqttzoo")!.data;
  const again = secretsIn(renderer.render()).find(({ metadata }) => metadata.name === "mqttzoo")!.data;
  for (const key of ["link", "zookeeper", "http"]) {
    const text = Buffer.from(drawn[key], "base64").toString();
    expect(text).toMatch(key === "zookeeper" ? /^mqttzoo:\w{48}$/ : /^\w{48}$/);
    expect(again[key]).not.toBe(drawn[key]);
  }
  const own = renderer.render({ secrets: { existing: "mine" }, access: { existing: "people" } });
  expect(secretsIn(own)).toEqual([]);
  const { volumes } = own.find(({ kind }) => kind === "StatefulSet")!.spec.template.spec;
  expect(volumes.map(({ secret }: Manifest) => secret?.secretName)).toEqual(["mine", "people", undefined]);
});

test("other names, images and options are where they belong", () => {
  const digest = `sha256:${"0".repeat(64)}`;
  const all = byName(
    renderer.render({
      name: "mine",
      zookeeper: { name: "keeper" },
      image: { repository: "registry.example.org/mqttzoo", digest, pullSecrets: ["login"] },
      options: { "bank-capital": 40_000_000, "otlp-sample": "0.1", "allow-anonymous": true, "drain-time": 60 },
    }),
  );
  expect(Object.keys(all).sort()).toEqual([
    "ConfigMap mine",
    "NetworkPolicy keeper",
    "NetworkPolicy mine",
    "PodDisruptionBudget keeper",
    "PodDisruptionBudget mine",
    "Secret mine",
    "Secret mine-access",
    "Service keeper",
    "Service mine",
    "Service mine-links",
    "StatefulSet keeper",
    "StatefulSet mine",
  ]);
  expect(JSON.stringify(all)).not.toMatch(/"name":"mqttzoo/);
  expect(all["ConfigMap mine"].data).toMatchObject({
    MQTTZOO_ZK: "keeper-0.keeper:2181,keeper-1.keeper:2181,keeper-2.keeper:2181",
    MQTTZOO_BANK_CAPITAL: "40000000",
    MQTTZOO_OTLP_SAMPLE: "0.1",
    MQTTZOO_ALLOW_ANONYMOUS: "true",
  });
  const pod = all["StatefulSet mine"].spec.template.spec;
  expect(pod.containers[0].image).toBe(`registry.example.org/mqttzoo@${digest}`);
  expect([pod.imagePullSecrets, pod.terminationGracePeriodSeconds]).toEqual([[{ name: "login" }], 80]);
});

test.each<[string, Values]>([
  ["additional properties", { replica: 3 }],
  ["/replicas must be integer", { replicas: "three" }],
  ["/service/type must be equal to one of the allowed values", { service: { type: "Balancer" } }],
  ["/options/otlp-sample must be", { options: { "otlp-sample": 0.1 } }],
  ["/secrets/zookeeper must match pattern", { secrets: { zookeeper: "no colon" } }],
  ["set zookeeper.enabled to false, or leave it away", { options: { zk: "zk:2181" } }],
  ["set replicas to 1", { store: { enabled: true }, zookeeper: { enabled: false } }],
  ["store.enabled is for one broker without ZooKeeper", { store: { enabled: true }, replicas: 1 }],
  ["brokers need ZooKeeper", { zookeeper: { enabled: false } }],
])("values are refused that make no cluster: %s", (why, values) => {
  expect(() => renderer.render(values)).toThrow(why);
});

test("each value is described, and is in the schema", () => {
  const lines = readFileSync(join(chart, "values.yaml"), "utf8").split("\n");
  const schema = JSON.parse(readFileSync(join(chart, "values.schema.json"), "utf8"));
  const values = valuesIn("values.yaml");
  for (const key of Object.keys(values)) {
    expect(schema.properties[key]).toBeDefined();
    const at = lines.findIndex((line) => line.startsWith(`${key}:`));
    const isDescribed = lines[at - 1]!.startsWith("#") || /^ {2}#/.test(lines[at + 1]!);
    expect([key, isDescribed]).toEqual([key, true]);
  }
});

test("the notes say how to go on", () => {
  const text = renderer.text({ tls: { secret: "mqttzoo-tls" } }, "iot");
  expect(text).toContain("kubectl -n iot rollout status statefulset/mqttzoo");
  expect(text).toContain("port 8883, over TLS");
});
