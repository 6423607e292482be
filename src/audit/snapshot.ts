/** A picture of everything that the bank's audit, and whoever asks for a statement, wants to know of the tree. */

import { decodeGrant, decodeVault } from "../bank/account-records.ts";
import { read, type Store, walk } from "../coordinator/mirror.ts";
import { bankPath, branchesPath, decodeName, messageMark, nameOf, payloadPath } from "../coordinator/paths.ts";
import { hasData } from "../coordinator/read-results.ts";
import { refuseNewer } from "../coordinator/tree-format.ts";
import { notingReader } from "../mail/record-reader.ts";
import type { MessageHead } from "../mail/records.ts";
import type { PaidPlace, Snapshot, StoredMessage, StoredSlip, WeighedSnapshot } from "./audit.ts";
import { walkPlaces } from "./places.ts";
import { walkMessages, walkRetained, walkSlips } from "./scan.ts";
import { weigh } from "./weigh.ts";

/** Bytes of what stands where an account should be. */
const damagedShown = 80;

type Where = Pick<StoredMessage, "bytes" | "version" | "isRetained">;

/**
 * Undefined: there is no bank. A tree that is written meanwhile is seen at several times. Rejects with `OperatingError`
 * if it is written in a format that is newer than what this executable reads.
 */
export async function takeSnapshot(store: Store, now: number): Promise<Snapshot | undefined> {
  await refuseNewer(store);
  const grants = new Map<string, number>();
  const refused = new Map<string, number>();
  const messages: (StoredMessage & { credits: number })[] = [];
  const places: PaidPlace[] = [];
  const slips: StoredSlip[] = [];
  const strangers = new Map<string, string>();
  const walked = { store, reader: notingReader(strangers) };
  await walkSlips(walked, (path, { messagePath, state, recipients }) =>
    slips.push({ path, messagePath, isReleased: state === "released", recipients }),
  );
  const add = (path: string, { branch, credits, payer = "", keepUntil, parts }: MessageHead, where: Where): void => {
    const expiresAt = keepUntil === Infinity ? 0 : keepUntil;
    messages.push({ path, branch, credits, payer, expiresAt, parts, ...where });
  };
  await walkMessages(walked, {
    message: (path, head, { data, stat: { version } }) =>
      add(path, head, { bytes: data.length, version, isRetained: false }),
  });
  await walkRetained(walked, (path, head, { data, stat: { version } }) =>
    add(path, head, { bytes: data.length, version, isRetained: true }),
  );
  const byPayload = new Map(
    messages.flatMap((message) => (message.parts ? [[payloadPath(message.parts.id), message]] : [])),
  );
  await walkPlaces(walked, (path, charge) => {
    const message = byPayload.get(path);
    // Who reads a statement wants to know what the message costs, wherever its payload is.
    if (message?.branch === charge.branch) message.credits += charge.credits;
    else places.push({ path, ...charge });
  });
  const damaged = new Map<string, string>();
  const note = (path: string, data: Uint8Array): void => {
    damaged.set(path, JSON.stringify(Buffer.from(data.subarray(0, damagedShown)).toString("latin1")));
  };
  const [bank] = await read(store, [{ kind: "get", path: bankPath }]);
  if (!hasData(bank)) return undefined;
  const vault = decodeVault(bank.data);
  if (vault === undefined) note(bankPath, bank.data);
  await walk(store, branchesPath, (path, { data }) => {
    const name = nameOf(path);
    const broker = decodeName(name.startsWith(messageMark) ? name.slice(1) : name);
    const record = decodeGrant(data);
    if (record === undefined) note(path, data);
    grants.set(broker, (grants.get(broker) ?? 0) + (record?.grant ?? 0));
    refused.set(broker, (refused.get(broker) ?? 0) + (record?.refused ?? 0));
  });
  return {
    ...(vault ?? { capital: 0, vault: 0 }),
    damaged,
    strangers,
    grants,
    refused,
    messages,
    places,
    slips,
    takenAt: now,
  };
}

/** Takes a snapshot for an audit, which weighs the tree, too. As `takeSnapshot`. Rejects with `OperatingError`. */
export async function takeWeighed(store: Store, now: number): Promise<WeighedSnapshot | undefined> {
  const taken = await takeSnapshot(store, now);
  return taken && { ...taken, weight: await weigh(store) };
}
