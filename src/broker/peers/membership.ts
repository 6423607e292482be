/**
 * Who is in the cluster: `/brokers`, mirrored. And what this broker is itself: its own znode, which lives as long as its
 * keeper session, and the lease that it may trust while it has no contact.
 */
import { encodeUtf8, noBytes } from "../../base/bytes.ts";
import { OperatingError } from "../../base/errors.ts";
import { formats } from "../../base/formats.ts";
import type { Coordinator, WriteOperation } from "../../coordinator/coordinator.ts";
import { Mirror, read } from "../../coordinator/mirror.ts";
import {
  brokerPath,
  brokersPath,
  decodeName,
  isEncodedPath,
  linkSecretPath,
  nameOf,
  parentPath,
  rootPaths,
} from "../../coordinator/paths.ts";
import type { ClusterContext } from "./cluster-context.ts";
import { type BrokerFacts, decodeFacts, Peer } from "./peer.ts";

export interface MembershipFlows {
  joined(peer: Peer): void;
  /** An incarnation of a broker is gone. */
  left(peer: Peer, epoch: number): void;
  /** From now on records are written in another format, `self.format`; before it was `before`. */
  formatChanged(before: number): void;
}

export class Membership {
  readonly #context: ClusterContext;
  readonly #flows: () => MembershipFlows;
  readonly #fatal: (error: OperatingError) => void;
  readonly #mirror: Mirror;
  /** All that live have been read once. */
  #hasRead = false;

  constructor(
    context: ClusterContext,
    /** `fatal`: the broker must end. */
    how: { readonly flows: () => MembershipFlows; readonly fatal: (error: OperatingError) => void },
  ) {
    this.#context = context;
    this.#flows = how.flows;
    this.#fatal = how.fatal;
    this.#mirror = new Mirror(context.coordinator, {
      root: brokersPath,
      concerns: (path) => parentPath(path) === brokersPath && isEncodedPath(brokersPath, path),
      needsData: () => true,
      apply: (path, node) => {
        const id = decodeName(nameOf(path));
        const epoch = typeof node === "object" ? node.stat.czxid : undefined;
        if (id === context.options.id) return this.#seeSelf(epoch);
        // One that does not go with its session would be waited for, and never answer.
        const isLasting = typeof node === "object" && node.stat.isEphemeral === false;
        const facts = typeof node === "object" && !isLasting ? decodeFacts(node.data) : undefined;
        if (epoch === undefined) context.strangers.forget(path);
        else if (facts === undefined) context.strangers.note(path, "is no broker of ours");
        this.#see(id, facts === undefined ? undefined : epoch, facts);
      },
    });
  }

  async start(): Promise<void> {
    await this.#mirror.start();
    this.#hasRead = true;
    this.#chooseFormat();
  }

  /** The broker of a name, whether it is a member now or not. */
  peer(id: string): Peer {
    const { peers } = this.#context;
    let peer = peers.get(id);
    if (peer === undefined) {
      peer = new Peer(id);
      peers.set(id, peer);
    }
    return peer;
  }

  /** Members other than this one. */
  members(): Peer[] {
    return [...this.#context.peers.values()].filter(({ epoch }) => epoch !== undefined);
  }

  /** True if that incarnation of a broker lives, as far as is known. */
  isAlive(id: string, epoch: number): boolean {
    const { options, self, peers } = this.#context;
    return id === options.id ? epoch === self.epoch : peers.get(id)?.epoch === epoch;
  }

  /** Of all brokers that live, the one with the lowest id does what only one should. */
  get isLowest(): boolean {
    return this.members().every(({ id }) => id > this.#context.options.id);
  }

  /** The same, of those that know a format. */
  isLowestOf(format: number): boolean {
    return this.members().every(({ id, formats }) => id > this.#context.options.id || formats.newest < format);
  }

  #see(id: string, epoch: number | undefined, facts: BrokerFacts | undefined): void {
    const peer = this.peer(id);
    peer.facts = facts ?? peer.facts;
    if (epoch === peer.epoch) return;
    const before = peer.epoch;
    if (before !== undefined) {
      peer.epoch = undefined;
      this.#context.log.info({ peer: id }, "a broker has left");
      this.#flows().left(peer, before);
    }
    peer.epoch = epoch;
    this.#chooseFormat();
    if (epoch === undefined) return;
    this.#context.log.info({ peer: id, link: `${facts!.linkHost}:${facts!.linkPort}` }, "a broker has joined");
    this.#flows().joined(peer);
  }

  /** The newest format that all live brokers read. Until they have been read it stays the oldest. */
  #chooseFormat(): void {
    const { self, log } = this.#context;
    if (!this.#hasRead) return;
    const before = self.format;
    const members = this.members();
    self.format = Math.min(formats.newest, ...members.map((peer) => peer.formats.newest));
    if (self.format === before) return;
    // A broker without others writes the newest: nobody needs to be told.
    log[members.length === 0 ? "debug" : "info"](
      { format: self.format },
      "records are written in another format: the newest that all live brokers read",
    );
    this.#flows().formatChanged(before);
  }

  #seeSelf(epoch: number | undefined): void {
    const { self, coordinator, options } = this.#context;
    // Of an earlier session of ours that is being replaced, or of the one that is ending.
    if (epoch === undefined || epoch <= self.epoch || coordinator.state !== "CONNECTED" || self.isJoining) return;
    this.#fatal(
      new OperatingError("EFENCED", `another broker has joined under the name ${options.id}; give each its own --id`),
    );
  }
}

/** Makes the roots and the broker's own znode, in place of one that an earlier life has left; returns its epoch. */
export async function joinTree(coordinator: Coordinator, id: string, facts: BrokerFacts): Promise<number> {
  // All at once, in their order: one after the other each would wait for its turn, and nobody is served meanwhile.
  await Promise.all(
    rootPaths.map((path) =>
      write(coordinator, [{ kind: "create", path, data: noBytes, mode: "persistent" }], "NodeExists"),
    ),
  );
  const path = brokerPath(id);
  const create: WriteOperation = { kind: "create", path, data: encodeUtf8(JSON.stringify(facts)), mode: "ephemeral" };
  for (;;) {
    const created = await write(coordinator, [create], "NodeExists");
    if (created !== undefined) return created;
    const replaced = await write(coordinator, [{ kind: "delete", path, version: -1 }, create], "NoNode");
    if (replaced !== undefined) return replaced;
  }
}

/** The transaction's number; undefined if it was refused with the code `unless`. */
function write(
  coordinator: Coordinator,
  operations: readonly WriteOperation[],
  unless: string,
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    coordinator.write(operations, (error, _, zxid) => {
      if (error === undefined) resolve(zxid);
      else if (error.code === unless) resolve(undefined);
      else reject(new OperatingError("ESTORE", `cannot write to the store: ${error.message}`));
    });
  });
}

/** What stands in the tree for all brokers to know; `fresh` from now on, if nothing does. Rejects with `OperatingError`. */
export async function sharedSecret(coordinator: Coordinator, fresh: string): Promise<string> {
  const create: WriteOperation = { kind: "create", path: linkSecretPath, data: encodeUtf8(fresh), mode: "persistent" };
  await write(coordinator, [create], "NodeExists");
  const [node] = await read(coordinator, [{ kind: "get", path: linkSecretPath }]);
  if (typeof node !== "object" || !("data" in node))
    throw new OperatingError("ESTORE", `${linkSecretPath} is gone from the tree`);
  // An empty one would be no secret. Who is refused finds that of another broker, which was faster.
  if (node.data.length === 0) {
    const set: WriteOperation = {
      kind: "set",
      path: linkSecretPath,
      data: encodeUtf8(fresh),
      version: node.stat.version,
    };
    await write(coordinator, [set], "BadVersion");
    return sharedSecret(coordinator, fresh);
  }
  // Whatever bytes stand there, all brokers take them for the same text.
  return Buffer.from(node.data).toString();
}
