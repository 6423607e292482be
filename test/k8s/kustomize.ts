/** Renders our folders as `kubectl kustomize` does, as far as they use it: resources, namespace, images, patches. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";

// biome-ignore lint/suspicious/noExplicitAny: objects of many kinds.
export type Manifest = any;

interface Kustomization {
  readonly resources?: readonly string[];
  readonly namespace?: string;
  readonly secretGenerator?: readonly { readonly name: string; readonly files: readonly string[] }[];
  readonly generatorOptions?: { readonly disableNameSuffixHash: true };
  readonly images?: readonly { readonly name: string; readonly newName: string; readonly newTag: string }[];
  readonly patches?: readonly {
    readonly target: { readonly kind: string; readonly name: string };
    readonly patch: string;
  }[];
}

interface Operation {
  readonly op: "add" | "replace" | "remove";
  readonly path: string;
  readonly value?: unknown;
}

const known = new Set([
  "apiVersion",
  "kind",
  "resources",
  "namespace",
  "secretGenerator",
  "generatorOptions",
  "images",
  "patches",
]);

/** Throws where something is named that is not there, or used that is not known here. */
export function render(folder: string): Manifest[] {
  const file = join(folder, "kustomization.yaml");
  const kustomization = Bun.YAML.parse(readFileSync(file, "utf8")) as Kustomization;
  for (const key of Object.keys(kustomization))
    if (!known.has(key)) throw new Error(`${file}: ${key} is not known here`);
  const { resources = [], namespace, images = [], patches = [] } = kustomization;
  let manifests = resources.flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? render(path) : documentsOf(path);
  });
  for (const { name, files } of kustomization.secretGenerator ?? []) manifests.push(secretOf(folder, name, files));
  for (const manifest of manifests) {
    if (namespace !== undefined && manifest.kind !== "Namespace") manifest.metadata.namespace = namespace;
    for (const container of manifest.spec?.template?.spec?.containers ?? []) {
      const image = images.find(({ name }) => name === container.image.split(":")[0]);
      if (image !== undefined) container.image = `${image.newName}:${image.newTag}`;
    }
  }
  for (const { target, patch } of patches) {
    const found = manifests.find(({ kind, metadata }) => kind === target.kind && metadata.name === target.name);
    if (found === undefined) throw new Error(`${file}: a patch for ${target.kind} ${target.name}, which is not there`);
    const parsed = Bun.YAML.parse(patch) as readonly Operation[] | { readonly $patch: string };
    if (Array.isArray(parsed)) for (const operation of parsed) apply(found, operation, file);
    else manifests = manifests.filter((manifest) => manifest !== found);
  }
  return manifests;
}

/** All folders with a kustomization that somebody may apply. */
export function kustomizationsOf(root: string): string[] {
  const overlays = join(root, "overlays");
  return [root, ...readdirSync(overlays).map((name) => join(overlays, name))];
}

function secretOf(folder: string, name: string, files: readonly string[]): Manifest {
  const data = files.map((file) => [basename(file), readFileSync(join(folder, file)).toString("base64")]);
  return { apiVersion: "v1", kind: "Secret", metadata: { name }, type: "Opaque", data: Object.fromEntries(data) };
}

function documentsOf(path: string): Manifest[] {
  const parsed = Bun.YAML.parse(readFileSync(path, "utf8")) as Manifest;
  return Array.isArray(parsed) ? parsed : [parsed];
}

/** One operation of a JSON patch (RFC 6902). */
function apply(manifest: Manifest, { op, path, value }: Operation, file: string): void {
  const keys = path.split("/").slice(1);
  const last = keys.pop()!;
  const parent = keys.reduce((at, key) => at?.[key], manifest);
  if (parent === undefined || (op !== "add" && !(last in parent)))
    throw new Error(`${file}: there is no ${path} to ${op}`);
  if (op === "remove") delete parent[last];
  else if (last === "-") parent.push(value);
  else parent[last] = value;
}
