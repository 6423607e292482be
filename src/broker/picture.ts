/** A picture of everything that the bank's audit, and whoever asks for a statement, wants to know of the tree. */
import { decodeGrant, decodeVault } from "../bank/accounts.ts";
import type { Picture, StoredMessage, StoredSlip } from "../bank/audit.ts";
import {
  bankPath,
  branchesPath,
  decodeName,
  isMailbox,
  messageMark,
  nameOf,
  parentPath,
  retainedPath,
  sessionsPath,
  topicsPath,
} from "../coordinator/paths.ts";
import { decodeMessageHead, decodeSlip } from "../mail/records.ts";
import { read, type Store, walk } from "./mirror.ts";

/** Undefined: there is no bank. A tree that is written meanwhile is seen at several times. */
export async function takePicture(store: Store, now: number): Promise<Picture | undefined> {
  const grants = new Map<string, number>();
  const messages: StoredMessage[] = [];
  const slips: StoredSlip[] = [];
  await walk(store, sessionsPath, (path, { data }) => {
    if (!isMailbox(parentPath(path)) || data.length === 0) return;
    const { messagePath, state } = decodeSlip(data);
    slips.push({ path, messagePath, isReleased: state === "released" });
  });
  const add = (path: string, data: Uint8Array, isRetained: boolean): void => {
    const head = decodeMessageHead(data);
    if (head === undefined || (!isRetained && !nameOf(path).startsWith(messageMark))) return;
    const expiresAt = head.keepUntil === Infinity ? 0 : head.keepUntil;
    messages.push({ path, branch: head.branch, credits: head.credits, bytes: data.length, expiresAt, isRetained });
  };
  await walk(store, topicsPath, (path, { data }) => add(path, data, false));
  await walk(store, retainedPath, (path, { data }) => add(path, data, true));
  const [bank] = await read(store, [{ kind: "get", path: bankPath }]);
  if (typeof bank !== "object" || !("data" in bank)) return undefined;
  await walk(store, branchesPath, (path, { data }) => {
    const name = nameOf(path);
    const broker = decodeName(name.startsWith(messageMark) ? name.slice(1) : name);
    grants.set(broker, (grants.get(broker) ?? 0) + decodeGrant(data).grant);
  });
  return { ...decodeVault(bank.data), grants, messages, slips, takenAt: now };
}
