/** Walks over what is stored: whoever counts it, sweeps it or audits it goes through the tree the same way. */

import { type MirrorNode, type Store, walk } from "../coordinator/mirror.ts";
import {
  isMailbox,
  isSlipName,
  messageMark,
  nameOf,
  parentPath,
  retainedPath,
  sessionsPath,
  topicsPath,
} from "../coordinator/paths.ts";
import type { RecordReader } from "../mail/record-reader.ts";
import { decodeMessageHead, decodeSlip, type MessageHead, type SlipRecord } from "../mail/records.ts";

/** The store that is walked over, and the reader that leaves out strangers' znodes. */
export interface Walked {
  readonly store: Store;
  readonly reader: RecordReader;
}

/** Called with every stored message; and with the number of recipients that have it, if it has several. */
export interface MessageVisitor {
  message?(path: string, head: MessageHead, node: MirrorNode): void;
  counted?(path: string, head: MessageHead, times: number): void;
}

export async function walkMessages({ store, reader }: Walked, visitor: MessageVisitor): Promise<void> {
  const heads = new Map<string, MessageHead>();
  await walk(store, topicsPath, (path, node) => {
    const isMessage = nameOf(path).startsWith(messageMark);
    const head = isMessage ? reader.read(path, () => decodeMessageHead(node.data)) : undefined;
    if (head !== undefined) {
      if (head.recipients > 1) heads.set(path, head);
      visitor.message?.(path, head, node);
    }
    const above = heads.get(parentPath(path));
    if (above !== undefined) visitor.counted?.(parentPath(path), above, node.stat.version);
  });
}

export function walkRetained(
  { store, reader }: Walked,
  visit: (path: string, head: MessageHead, node: MirrorNode) => void,
): Promise<void> {
  return walk(store, retainedPath, (path, node) => {
    const head = reader.read(path, () => decodeMessageHead(node.data));
    if (head !== undefined) visit(path, head, node);
  });
}

export function walkSlips(
  { store, reader }: Walked,
  visit: (path: string, record: SlipRecord, node: MirrorNode) => void,
): Promise<void> {
  return walk(store, sessionsPath, (path, node) => {
    const record = slipAt(reader, path, node);
    if (record !== undefined) visit(path, record, node);
  });
}

/** Returns the slip that a node below `/sessions` is; undefined: it is none. */
export function slipAt(reader: RecordReader, path: string, { data }: MirrorNode): SlipRecord | undefined {
  if (!isMailbox(parentPath(path)) || !isSlipName(nameOf(path))) return undefined;
  return reader.read(path, () => decodeSlip(data));
}
