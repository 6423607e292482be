/** A bad network between two ends, from a seed: it loses, doubles and reorders datagrams. */

import { seeded } from "../simulation/world.ts";

/** Passes on a datagram: not at all, once or twice, at once or later. */
export type Network = (deliver: () => void) => void;

/** `share`: how many of a hundred datagrams each of the three befalls. */
export function lossyNetwork(seed: number, share: number): Network {
  const random = seeded(seed).next;
  const happens = (): boolean => random() * 100 < share;
  const late = (deliver: () => void): void => void setTimeout(deliver, random() * 40);
  return (deliver) => {
    if (happens()) return;
    if (happens()) late(deliver);
    if (happens()) late(deliver);
    else deliver();
  };
}
