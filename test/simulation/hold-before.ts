/** A broker whose commits wait until a test lets them go. */
import type { WriteOperation } from "../../src/coordinator/coordinator.ts";
import type { BrokerNode } from "./broker-node.ts";

/** Has a broker wait before it writes a certain operation, with all that it writes later. */
export function holdBefore(node: BrokerNode, isIt: (operation: WriteOperation) => boolean) {
  const { coordinator } = node.broker!.context;
  const write = coordinator.write.bind(coordinator);
  const held: (() => void)[] = [];
  coordinator.write = (operations, done, repair) => {
    if (held.length > 0 || operations.some(isIt)) held.push(() => write(operations, done, repair));
    else write(operations, done, repair);
  };
  /** Lets it write that operation, and then, when it is called again, all that it has written later. */
  const go = (): void => {
    held[0]?.();
    held[0] = (): void => {
      coordinator.write = write;
      for (const late of held.slice(1)) late();
    };
  };
  return { isHeld: () => held.length > 0, go };
}
