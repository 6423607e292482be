/** Sessions, retained messages and mail of a `mosquitto.db` become an embedded store. */
import { systemClock } from "../../src/base/clock.ts";
import { OperatingError } from "../../src/base/errors.ts";
import { createLog } from "../../src/base/log.ts";
import { readForeignDatabase } from "../../src/mosquitto/database.ts";
import { type Plan, planImport } from "../../src/mosquitto/plan.ts";
import { importIntoStore } from "../../src/server/import-store.ts";
import { isThere, listFolder, moveFolder } from "../../src/server/operator-files.ts";
import { resolveOptions, toBrokerOptions } from "../flags/broker-config.ts";
import { say } from "../output/print.ts";
import { printError } from "../output/standard-output.ts";

export interface StoreFlags {
  readonly config?: string;
  readonly data?: string;
}

/**
 * Makes a store of what stands in a file, where none is yet, or says what would be in it. Rejects with
 * `OperatingError`: then there is none.
 */
export async function importStore(bytes: Uint8Array, path: string, how: StoreFlags & { readonly isDry: boolean }) {
  const { isDry, config, data: given } = how;
  const flags = { ...(config === undefined ? {} : { config }), ...(given === undefined ? {} : { data: given }) };
  const options = toBrokerOptions(resolveOptions(flags, process.env));
  const { data } = options;
  if (options.zk !== "")
    throw new OperatingError("EUSAGE", "a cluster cannot be imported into: leave out zk, or say --data");
  if (isThere(data) && listFolder(data).length > 0)
    throw new OperatingError(
      "EFILE",
      `${data} is not empty: what is imported makes a store of its own; choose another --data`,
    );
  const plan = planImport(read(bytes, path), systemClock.wall());
  if (isDry) {
    tell(countsOf(plan), plan.leftOut);
    return say(`would be written: ${data}`);
  }
  const making = `${data}.importing`;
  if (isThere(making))
    throw new OperatingError("EFILE", `${making} is left of an import that was broken off: remove it`);
  const log = createLog({ level: "error", format: "text", write: printError });
  const { refused, ...done } = await importIntoStore({ ...options, data: making }, plan, log);
  // Until all is there nobody can take it for a store.
  moveFolder(making, data);
  tell(done, new Map([...plan.leftOut, ...refused]));
  say(`written: ${data}`);
  if (refused.size > 0) process.exitCode = 1;
}

function read(bytes: Uint8Array, path: string) {
  try {
    return readForeignDatabase(bytes);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    throw new OperatingError(error.code, `cannot read ${path}: ${error.message}`);
  }
}

interface Counts {
  readonly sessions: number;
  readonly subscriptions: number;
  readonly retained: number;
  readonly mail: number;
  readonly unreleased: number;
}

function countsOf({ sessions, retained, mail, unreleased }: Plan): Counts {
  return {
    sessions: sessions.length,
    subscriptions: sessions.reduce((sum, { subscriptions }) => sum + subscriptions.length, 0),
    retained: retained.length,
    mail: mail.reduce((sum, { receivers }) => sum + receivers.length, 0),
    unreleased: unreleased.length,
  };
}

function tell({ sessions, subscriptions, retained, mail, unreleased }: Counts, without: ReadonlyMap<string, number>) {
  say(`sessions: ${sessions}`);
  say(`subscriptions: ${subscriptions}`);
  say(`retained messages: ${retained}`);
  say(`messages that wait for sessions: ${mail}`);
  if (unreleased > 0) say(`messages at QoS 2 that were not released: ${unreleased}`);
  for (const [what, count] of without) say(`left out: ${count} ${what}`);
}
