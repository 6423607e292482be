/** Renders our Helm chart as `helm template` does, with Go's own templates: neither Debian nor npm has Helm itself. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Ajv from "ajv";
import type { Manifest } from "../kustomize.ts";

export const chart = join(import.meta.dir, "../../../k8s/chart");

/** The values of a chart, or of an operator. */
export type Values = Record<string, unknown>;

/** Debian's Go finds its libraries there, and fetches none. */
const go = { GO111MODULE: "off", GOPATH: "/usr/share/gocode", GOFLAGS: "" };

export class ChartRenderer {
  readonly #folder = mkdtempSync(join(tmpdir(), "mqttzoo-chart-"));
  readonly #checks = new Ajv({ allErrors: true, strict: false }).compile(
    JSON.parse(readFileSync(join(chart, "values.schema.json"), "utf8")),
  );

  constructor() {
    const env = { ...process.env, ...go, GOCACHE: join(this.#folder, "cache") };
    const command = ["go", "build", "-o", join(this.#folder, "render"), join(import.meta.dir, "render.go")];
    const { exitCode, stderr } = Bun.spawnSync(command, { env });
    if (exitCode !== 0) throw new Error(`go build failed: ${stderr}`);
  }

  /** Returns what a release is made of. Throws what Helm would say of bad values. */
  render(values: Values = {}, namespace = "mqttzoo"): Manifest[] {
    return documentsOf(this.text(values, namespace)).filter((document) => document.kind !== undefined);
  }

  /** Returns all that is rendered, the notes for the operator as well. Throws what Helm would say of bad values. */
  text(values: Values = {}, namespace = "mqttzoo"): string {
    const whole = merged(valuesIn("values.yaml"), values);
    if (!this.#checks(whole))
      throw new Error(this.#checks.errors!.map(({ instancePath, message }) => `${instancePath} ${message}`).join("; "));
    const { name, version, appVersion } = valuesIn("Chart.yaml");
    const data = {
      Values: whole,
      Release: { Name: "mqttzoo", Namespace: namespace },
      Chart: { Name: name, Version: version, AppVersion: appVersion },
    };
    const { exitCode, stdout, stderr } = Bun.spawnSync([join(this.#folder, "render"), chart], {
      stdin: Buffer.from(JSON.stringify(data)),
    });
    if (exitCode !== 0) throw new Error(stderr.toString().trim());
    return stdout.toString();
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Reads a YAML file of the chart. */
export function valuesIn(path: string): Values {
  return Bun.YAML.parse(readFileSync(join(chart, path), "utf8")) as Values;
}

/** Puts an operator's values over the chart's, as Helm does: objects are merged, all else is replaced. */
function merged(chartValues: Values, own: Values): Values {
  const isObject = (value: unknown): value is Values =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  const result = { ...chartValues };
  for (const [key, value] of Object.entries(own)) {
    const before = result[key];
    result[key] = isObject(before) && isObject(value) ? merged(before, value) : value;
  }
  return result;
}

function documentsOf(text: string): Manifest[] {
  return text
    .split(/^---$/m)
    .filter((part) => !part.startsWith("\n# Source: NOTES.txt"))
    .map((part) => (Bun.YAML.parse(part) ?? {}) as Manifest);
}
