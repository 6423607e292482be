/** The other brokers as the bank account sees them: what it may ask of them goes over the links. */
import type { OtherBranches } from "../core/bank-account.ts";
import type { Links } from "./links.ts";
import type { Membership } from "./membership.ts";
import type { Peer } from "./peer.ts";

/** The parts of the broker by which others are reached. */
export interface WaysToOthers {
  readonly membership: () => Membership;
  readonly links: () => Links;
}

/** Returns what the bank account may ask of other brokers. */
export function otherBranches({ membership, links }: WaysToOthers, peers: ReadonlyMap<string, Peer>): OtherBranches {
  return {
    exist: () => peers.size > 0,
    reportFreed: (branch, paths) => {
      const peer = peers.get(branch);
      // A broker that is away counts its messages again when it comes back.
      if (peer?.link !== undefined) links().sendControl(peer, { say: "freed", paths });
    },
    askForCredits: () => {
      for (const peer of membership().members()) links().sendControl(peer, { say: "short" });
    },
  };
}
