/**
 * The dashboard's files as the browser gets them. From source they are bundled here, when they are first asked for; the
 * build puts the finished ones in the place of this module (`test/tools/build.ts`), so that the executable holds them.
 */
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, gzip } from "node:zlib";
import { OperatingError } from "../base/errors.ts";

/** A file, compressed both ways: over plain HTTP browsers take gzip alone. */
export interface DashboardFile {
  readonly type: string;
  readonly gzip: Uint8Array<ArrayBuffer>;
  readonly brotli: Uint8Array<ArrayBuffer>;
}

/** The program, and how it looks. */
export interface DashboardBundle {
  readonly script: DashboardFile;
  readonly style: DashboardFile;
}

/** Bundles the dashboard. Rejects with `OperatingError` if its source cannot be bundled. */
export async function readDashboard(): Promise<DashboardBundle> {
  const built = await Bun.build({
    entrypoints: [join(import.meta.dir, "../dashboard/main.tsx")],
    target: "browser",
    minify: true,
    throw: false,
    define: { "process.env.NODE_ENV": '"production"' },
  });
  if (!built.success) throw new OperatingError("EFILE", `the dashboard cannot be bundled: ${built.logs.join("; ")}`);
  const find = (ending: string) => built.outputs.find(({ path }) => path.endsWith(ending));
  const [script, style] = [find(".js"), find(".css")];
  if (script === undefined || style === undefined) throw new OperatingError("EFILE", "the dashboard lacks a file");
  return {
    script: await compress(script, "text/javascript; charset=utf-8"),
    style: await compress(style, "text/css; charset=utf-8"),
  };
}

/** Compresses a file, in threads of their own. */
async function compress(file: Blob, type: string): Promise<DashboardFile> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const [zipped, brotli] = await Promise.all([promisify(gzip)(bytes, { level: 9 }), promisify(brotliCompress)(bytes)]);
  return { type, gzip: new Uint8Array(zipped), brotli: new Uint8Array(brotli) };
}
