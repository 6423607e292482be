/** Checks of manifests together, besides their types: a name that stands somewhere names something that is there. */
import { defaultOptions } from "../../src/broker/core/options.ts";
import type { Manifest } from "./kustomize.ts";

/** Seconds before and after the drain: the last commits, and connections that linger. */
const besidesDrainSeconds = 15;

/** Everything that is wrong, in words. */
export async function faultsOf(manifests: readonly Manifest[], version: string): Promise<string[]> {
  const wrong: string[] = [];
  for (const manifest of manifests) wrong.push(...(await typeFaults(manifest)));
  const workloads = manifests.filter(({ kind }) => kind === "StatefulSet");
  for (const workload of workloads) wrong.push(...workloadFaults(workload, manifests, version));
  for (const manifest of manifests) wrong.push(...selectorFaults(manifest, workloads));
  return wrong;
}

/** Against the types of the current Kubernetes. */
async function typeFaults(manifest: Manifest): Promise<string[]> {
  const { apiVersion, kind, metadata } = manifest;
  try {
    const model = await import(`kubernetes-models/${apiVersion}/${kind}`);
    new model[kind](manifest).validate();
    return [];
  } catch (error) {
    return [`${kind} ${metadata?.name}: ${(error as Error).message}`];
  }
}

function matches(selector: Record<string, string>, labels: Record<string, string> = {}): boolean {
  const wanted = Object.entries(selector ?? {});
  return wanted.length > 0 && wanted.every(([key, value]) => labels[key] === value);
}

const labelsOf = (workload: Manifest): Record<string, string> => workload.spec.template.metadata.labels;
const portsOf = (workload: Manifest): Manifest[] =>
  workload.spec.template.spec.containers.flatMap((c: Manifest) => c.ports);

function selectorFaults(manifest: Manifest, workloads: readonly Manifest[]): string[] {
  const { kind, metadata, spec } = manifest;
  const name = `${kind} ${metadata.name}`;
  const selected = (selector: Record<string, string>): Manifest[] =>
    workloads.filter((workload) => matches(selector, labelsOf(workload)));
  if (kind === "Service") {
    const found = selected(spec.selector);
    if (found.length !== 1) return [`${name} selects ${found.length} workloads`];
    return spec.ports.flatMap((port: Manifest) => {
      const target = port.targetPort ?? port.port;
      const isThere = portsOf(found[0]).some((own) => own.name === target || own.containerPort === target);
      return isThere ? [] : [`${name}: no container has the port ${target}`];
    });
  }
  if (kind === "PodDisruptionBudget") {
    if (selected(spec.selector.matchLabels).length !== 1) return [`${name} selects nothing`];
    return spec.maxUnavailable === 1 ? [] : [`${name} does not allow exactly one to be away`];
  }
  if (kind !== "NetworkPolicy") return [];
  return [...policyFaults(manifest), ...portFaults(manifest, workloads)];
}

/** Finds the ways that a network policy leaves open and nobody needs. */
function policyFaults({ metadata, spec }: Manifest): string[] {
  const wrong: string[] = [];
  const name = `NetworkPolicy ${metadata.name}`;
  if (!spec.policyTypes.includes("Egress")) wrong.push(`${name}: pods may connect to anywhere`);
  for (const { from, ports = [] } of spec.ingress) {
    if (!ports.some(({ port }: Manifest) => port === "http")) continue;
    const isNamed = from?.every(({ namespaceSelector }: Manifest) => namespaceSelector?.matchLabels !== undefined);
    if (isNamed !== true) wrong.push(`${name}: any namespace may reach the http port`);
  }
  return wrong;
}

function portFaults({ metadata, spec }: Manifest, workloads: readonly Manifest[]): string[] {
  const name = `NetworkPolicy ${metadata.name}`;
  const found = workloads.filter((workload) => matches(spec.podSelector.matchLabels, labelsOf(workload)));
  if (found.length !== 1) return [`${name} selects ${found.length} workloads`];
  return spec.ingress.flatMap((rule: Manifest) =>
    (rule.ports ?? []).flatMap(({ port }: Manifest) =>
      portsOf(found[0]).some((own) => own.name === port) ? [] : [`${name}: no container has the port ${port}`],
    ),
  );
}

function workloadFaults(workload: Manifest, manifests: readonly Manifest[], version: string): string[] {
  const { spec } = workload;
  const name = `StatefulSet ${workload.metadata.name}`;
  const wrong: string[] = [];
  if (!matches(spec.selector.matchLabels, labelsOf(workload))) wrong.push(`${name} does not select its own pods`);
  const service = manifests.find(({ kind, metadata }) => kind === "Service" && metadata.name === spec.serviceName);
  if (service?.spec.clusterIP !== "None") wrong.push(`${name}: ${spec.serviceName} is no headless service`);
  const pod = spec.template.spec;
  for (const container of pod.containers) {
    for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"]) {
      const port = (container[probe]?.httpGet ?? container[probe]?.tcpSocket)?.port;
      if (port !== undefined && !container.ports.some((own: Manifest) => own.name === port))
        wrong.push(`${name}: the ${probe} asks at ${port}, which is no port of ${container.name}`);
    }
    if (container.readinessProbe === undefined || container.livenessProbe === undefined)
      wrong.push(`${name}: ${container.name} lacks a probe`);
    if (container.resources?.requests?.memory === undefined)
      wrong.push(`${name}: ${container.name} requests no memory`);
    wrong.push(...restrictedFaults(name, pod, container));
    const volumes = [
      ...(pod.volumes ?? []),
      ...(spec.volumeClaimTemplates ?? []).map((claim: Manifest) => claim.metadata),
    ];
    for (const mount of container.volumeMounts ?? [])
      if (!volumes.some((volume) => volume.name === mount.name)) wrong.push(`${name}: no volume ${mount.name}`);
  }
  if (workload.metadata.name === "mqttzoo") wrong.push(...brokerFaults(workload, manifests, version));
  if (workload.metadata.name === "zookeeper") wrong.push(...ensembleFaults(workload, manifests));
  return wrong;
}

/** The restricted Pod Security Standard. */
function restrictedFaults(name: string, pod: Manifest, container: Manifest): string[] {
  const { securityContext = {} } = container;
  const holds: readonly [string, boolean][] = [
    ["runs as root", pod.securityContext?.runAsNonRoot === true],
    ["may write to its root file system", securityContext.readOnlyRootFilesystem === true],
    ["may gain rights", securityContext.allowPrivilegeEscalation === false],
    ["keeps capabilities", securityContext.capabilities?.drop?.includes("ALL") === true],
    ["has no seccomp profile", pod.securityContext?.seccompProfile?.type === "RuntimeDefault"],
  ];
  return holds.filter(([, isHeld]) => !isHeld).map(([what]) => `${name}: ${container.name} ${what}`);
}

function brokerFaults(workload: Manifest, manifests: readonly Manifest[], version: string): string[] {
  const wrong: string[] = [];
  const pod = workload.spec.template.spec;
  const [container] = pod.containers;
  const config = manifests.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name === "mqttzoo")!.data;
  const variables = [...Object.keys(config), ...container.env.map(({ name }: Manifest) => name)];
  const options = Object.keys(defaultOptions).map((key) => `MQTTZOO_${key.replace(/[A-Z]/g, "_$&").toUpperCase()}`);
  for (const variable of variables)
    if (!options.includes(variable)) wrong.push(`${variable} is no option of the broker`);
  if (!container.image.endsWith(`:${version}`)) wrong.push(`the image is ${container.image}, the version ${version}`);
  if (pod.enableServiceLinks !== false) wrong.push("service links put an address into MQTTZOO_PORT");
  if (pod.terminationGracePeriodSeconds < Number(config.MQTTZOO_DRAIN_TIME) + besidesDrainSeconds)
    wrong.push("the grace period is over before the drain");
  const http = container.ports.find(({ name }: Manifest) => name === "http");
  if (String(http?.containerPort) !== config.MQTTZOO_HTTP_PORT) wrong.push("the http port is not MQTTZOO_HTTP_PORT");
  wrong.push(...secretFaults(pod, manifests));
  return wrong;
}

/** The secret that a certificate's owner makes: it is not ours to have. */
const madeElsewhere = "mqttzoo-tls";

/** Every file of a secret that is named must be in it. */
function secretFaults(pod: Manifest, manifests: readonly Manifest[]): string[] {
  const [{ env, volumeMounts }] = pod.containers;
  const files: string[] = env
    .map(({ value }: Manifest) => String(value))
    .filter((value: string) => value.startsWith("/"));
  return pod.volumes.flatMap(({ name, secret }: Manifest) => {
    if (secret === undefined || secret.secretName === madeElsewhere) return [];
    const found = manifests.find(({ kind, metadata }) => kind === "Secret" && metadata.name === secret.secretName);
    if (found === undefined) return [`there is no secret ${secret.secretName}`];
    const { mountPath } = volumeMounts.find((mount: Manifest) => mount.name === name);
    const keys = Object.keys({ ...found.data, ...found.stringData });
    const named = files
      .filter((file) => file.startsWith(`${mountPath}/`))
      .map((file) => file.slice(mountPath.length + 1));
    return named.filter((key) => !keys.includes(key)).map((key) => `the secret ${secret.secretName} has no ${key}`);
  });
}

function ensembleFaults(workload: Manifest, manifests: readonly Manifest[]): string[] {
  const wrong: string[] = [];
  const { replicas, serviceName, template } = workload.spec;
  const servers = template.spec.containers[0].env
    .find(({ name }: Manifest) => name === "ZOO_SERVERS")
    .value.split(/\s+/);
  const expected = Array.from({ length: replicas }, (_, at) => `zookeeper-${at}.${serviceName}`);
  if (servers.map((server: string) => server.split(/[=:]/)[1]).join() !== expected.join())
    wrong.push("ZOO_SERVERS are not the replicas");
  const { MQTTZOO_ZK: zk } = manifests.find(({ kind }) => kind === "ConfigMap")!.data;
  if (zk !== expected.map((host) => `${host}:2181`).join()) wrong.push("MQTTZOO_ZK is not the ensemble");
  if (replicas % 2 === 0) wrong.push("an even number of ZooKeeper servers");
  return wrong;
}
