/** The compose files: right by docker-compose's own check, and our executable takes every word that they give it. */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { version } from "../../src/broker/core/version.ts";
import { runExecutable } from "../support/process.ts";
import { type Manifest, render } from "./kustomize.ts";

const folder = join(import.meta.dir, "../../k8s/compose");

/** A service, as docker-compose has it when all that is shared has been put in its place. */
interface Service {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly healthcheck: { readonly test: readonly string[] };
  readonly ports: readonly (
    | string
    | { readonly host_ip: string; readonly published: number; readonly target: number }
  )[];
  readonly volumes?: readonly string[];
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly stop_grace_period: string;
}

/** Has docker-compose read a file; what it says is wrong, or the services by name. */
function compose(text: string): string | Record<string, Service> {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["docker-compose", "--file", "-", "config"], {
    cwd: folder,
    stdin: Buffer.from(text),
  });
  if (exitCode !== 0) return stderr.toString();
  return (Bun.YAML.parse(stdout.toString()) as { services: Record<string, Service> }).services;
}

function servicesIn(file: string): Record<string, Service> {
  const services = compose(readFileSync(join(folder, file), "utf8"));
  if (typeof services === "string") throw new Error(`${file}: ${services}`);
  return services;
}

function brokersOf(services: Record<string, Service>): [string, Service][] {
  return Object.entries(services).filter(([, { image }]) => image.includes("mqttzoo"));
}

const files = readdirSync(folder).filter((name) => name.endsWith(".yaml"));

test("there is one file for a broker alone, and one for a cluster", () => {
  expect(files.sort()).toEqual(["cluster.yaml", "docker-compose.yaml"]);
});

describe.each(files)("%s", (file) => {
  const services = servicesIn(file);
  const brokers = brokersOf(services);

  test("docker-compose would see mistakes", () => {
    const text = readFileSync(join(folder, file), "utf8");
    expect(compose(text.replace("cap_drop:", "cap_dorp:"))).toContain("cap_dorp");
    expect(compose(text.replace("interval: 10s", "interval: [10]"))).toBeString();
    expect(compose(text.slice(0, text.lastIndexOf("\nvolumes:")))).toContain("no declaration was found");
  });

  test("the broker takes every option, and is asked how it is at the port that it has", async () => {
    expect(brokers.length).toBeGreaterThan(0);
    for (const [, { command = [], environment = {}, healthcheck }] of brokers) {
      const { code, out, err } = await runExecutable([...command, "--print-config"], { env: { ...environment } });
      expect([code, err]).toEqual([0, ""]);
      // A variable that is none of an option would be overlooked.
      const named = Object.keys(environment).map((name) =>
        name.slice("MQTTZOO_".length).toLowerCase().replaceAll("_", "-"),
      );
      for (const name of named) expect(out).toMatch(new RegExp(`^${name}: .*# environment$`, "m"));
      expect(out).toMatch(/^http-port: 8080 /m);
      // Nobody answers here, but the words are understood.
      const [, program, ...words] = healthcheck.test;
      expect(program).toBe("/mqttzoo");
      const asked = await runExecutable([...words.slice(0, 1), "--http-port=1"]);
      expect(asked.err).toContain("no answer from 127.0.0.1:1");
      expect(words.slice(1)).toEqual(["--http-port=8080"]);
    }
  });

  test("brokers are open to this machine alone, and may do nothing that they need not", () => {
    for (const [, broker] of brokers) {
      const shown = broker.ports.map((port) => (typeof port === "string" ? port : port.host_ip));
      for (const port of shown) expect(port).toStartWith("127.0.0.1");
      expect(broker).toMatchObject({ image: `localhost/mqttzoo:${version}`, read_only: true, cap_drop: ["ALL"] });
      expect(broker.stop_grace_period).toBe("40s");
    }
  });
});

test("the cluster's brokers and servers name each other, and ZooKeeper is the one of the manifests", () => {
  const services = servicesIn("cluster.yaml");
  const names = Object.keys(services).sort();
  const brokers = ["broker-1", "broker-2", "broker-3"];
  const servers = ["zookeeper-1", "zookeeper-2", "zookeeper-3"];
  expect(names).toEqual([...brokers, ...servers]);
  for (const name of brokers) {
    expect(services[name]!.command).toEqual(["broker", `--id=${name}`, `--advertise=${name}`]);
    expect(services[name]!.environment!.MQTTZOO_ZK).toBe(servers.map((server) => `${server}:2181`).join());
  }
  const manifests = render(join(folder, ".."));
  const zookeeper = manifests.find(({ kind, metadata }) => kind === "StatefulSet" && metadata.name === "zookeeper");
  const { image, env } = (zookeeper as Manifest).spec.template.spec.containers[0];
  for (const [at, name] of servers.entries()) {
    const { environment, volumes = [] } = services[name]!;
    expect(services[name]!.image).toBe(image);
    expect(environment!.ZOO_MY_ID).toBe(String(at + 1));
    expect(environment!.ZOO_SERVERS!.split(" ")).toEqual(
      servers.map((server, index) => `server.${index + 1}=${server}:2888:3888;2181`),
    );
    expect(environment!.ZK_SERVER_HEAP).toBe(env.find((one: Manifest) => one.name === "ZK_SERVER_HEAP").value);
    expect(volumes.map((volume) => volume.split(":")[1])).toEqual(["/data", "/datalog"]);
  }
});
