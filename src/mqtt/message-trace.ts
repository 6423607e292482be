/**
 * A message that is traced, as the parts see it that pass it on: each tells what it does with it. Messages that are not
 * traced have none, so that asking costs one comparison.
 */
export interface MessageTrace {
  /** Called when the acknowledgement of its publisher begins to wait; returns what ends that, by what it waited for. */
  settling(): (path: string) => void;
  /** Called when something of it is handed to the store; returns what ends that. */
  storing(): (how: "committed" | "refused") => void;
  /** Called when its publisher is refused, with the reason in words. */
  refused(why: string): void;
  /** Called when a client has acknowledged it. */
  acknowledged(clientId: string): void;
}
