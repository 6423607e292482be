/** Walks over what is stored: whoever counts it, sweeps it or audits it goes through the tree the same way. */
import {
  isMailbox,
  messageMark,
  nameOf,
  parentPath,
  retainedPath,
  sessionsPath,
  topicsPath,
} from "../coordinator/paths.ts";
import { decodeMessageHead, decodeSlip, type MessageHead, type SlipRecord } from "../mail/records.ts";
import { type MirrorNode, type Store, walk } from "./mirror.ts";

/** Is told of every stored message; and of how many recipients have it, if it has several. */
export interface MessageVisitor {
  message?(path: string, head: MessageHead, node: MirrorNode): void;
  counted?(path: string, head: MessageHead, times: number): void;
}

export async function walkMessages(store: Store, visitor: MessageVisitor): Promise<void> {
  const heads = new Map<string, MessageHead>();
  await walk(store, topicsPath, (path, node) => {
    const head = nameOf(path).startsWith(messageMark) ? decodeMessageHead(node.data) : undefined;
    if (head !== undefined) {
      if (head.recipients > 1) heads.set(path, head);
      visitor.message?.(path, head, node);
    }
    const above = heads.get(parentPath(path));
    if (above !== undefined) visitor.counted?.(parentPath(path), above, node.stat.version);
  });
}

export function walkRetained(
  store: Store,
  visit: (path: string, head: MessageHead, node: MirrorNode) => void,
): Promise<void> {
  return walk(store, retainedPath, (path, node) => {
    const head = decodeMessageHead(node.data);
    if (head !== undefined) visit(path, head, node);
  });
}

export function walkSlips(
  store: Store,
  visit: (path: string, record: SlipRecord, node: MirrorNode) => void,
): Promise<void> {
  return walk(store, sessionsPath, (path, node) => {
    if (isMailbox(parentPath(path)) && node.data.length > 0) visit(path, decodeSlip(node.data), node);
  });
}
