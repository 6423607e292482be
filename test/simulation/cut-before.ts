/** Lost contact at a certain moment: when a broker is about to commit something. */
import type { JournalOperation } from "../../src/mail/operations.ts";
import type { BrokerNode } from "./broker-node.ts";

/** Cuts a broker off from the keeper just before it commits a certain operation; returns whether it has. */
export function cutBefore(node: BrokerNode, isIt: (operation: JournalOperation) => boolean): () => boolean {
  const { journal } = node.broker!.context;
  const commit = journal.commit.bind(journal);
  let isCut = false;
  journal.commit = (operations, done, refused) => {
    if (!isCut && operations.some(isIt)) {
      isCut = true;
      node.cutKeeper();
    }
    commit(operations, done, refused);
  };
  return () => isCut;
}
