/**
 * The members of the cluster, mirrored from `/brokers`, and this broker's own znode there, which lives as long as its
 * keeper session.
 */

import { encodeUtf8, noBytes } from "../../base/bytes.ts";
import { OperatingError } from "../../base/errors.ts";
import { formats } from "../../base/formats.ts";
import type { Coordinator, ReadResult, WriteOperation } from "../../coordinator/coordinator.ts";
import { Mirror, read } from "../../coordinator/mirror.ts";
import {
  brokerPath,
  brokersPath,
  decodeName,
  isEncodedPath,
  nameOf,
  parentPath,
  rootPaths,
} from "../../coordinator/paths.ts";
import { hasData } from "../../coordinator/read-results.ts";
import type { ClusterContext } from "./cluster-context.ts";
import { type BrokerFacts, decodeFacts, Peer } from "./peer.ts";

/** Told of changes of the membership. */
export interface MembershipFlows {
  joined(peer: Peer): void;
  /** Tells that an incarnation of a broker, by its epoch, is gone. */
  left(peer: Peer, epoch: number): void;
  /** Tells that records are written in another format from now on, `self.format`; it was `before`. */
  formatChanged(before: number): void;
}

/** The mirror of `/brokers`. It chooses the format in which this broker writes. */
export class Membership {
  readonly #context: ClusterContext;
  readonly #flows: () => MembershipFlows;
  readonly #fatal: (error: OperatingError) => void;
  readonly #mirror: Mirror;
  /** True once all members have been read. */
  #hasRead = false;

  constructor(
    context: ClusterContext,
    /** `fatal` is called with the reason why this broker must end. */
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
        // A znode that does not end with a keeper session is no broker: it would be waited for, and never answer.
        const isPersistent = typeof node === "object" && node.stat.isEphemeral === false;
        const facts = typeof node === "object" && !isPersistent ? decodeFacts(node.data) : undefined;
        if (epoch === undefined) context.strangers.forget(path);
        else if (facts === undefined) context.strangers.note(path, "is no broker of ours");
        this.#see(id, facts === undefined ? undefined : epoch, facts);
      },
    });
  }

  /** Reads all members. Rejects with `OperatingError` if the store cannot be read. */
  async start(): Promise<void> {
    await this.#mirror.start();
    this.#hasRead = true;
    this.#chooseFormat();
  }

  /** Returns the broker with an id, whether it is a member now or not. */
  peer(id: string): Peer {
    const { peers } = this.#context;
    let peer = peers.get(id);
    if (peer === undefined) {
      peer = new Peer(id);
      peers.set(id, peer);
    }
    return peer;
  }

  /** Returns the members other than this broker. */
  members(): Peer[] {
    return [...this.#context.peers.values()].filter(({ epoch }) => epoch !== undefined);
  }

  /** Returns true if the incarnation of a broker that an epoch names is a member, as far as is known. */
  isAlive(id: string, epoch: number): boolean {
    const { options, self, peers } = this.#context;
    return id === options.id ? epoch === self.epoch : peers.get(id)?.epoch === epoch;
  }

  /** True if this broker has the lowest id of all members: it does what only one should do. */
  get isLowest(): boolean {
    return this.members().every(({ id }) => id > this.#context.options.id);
  }

  /** Returns true if this broker has the lowest id of all members that know a format. */
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
      // Who is shut down says so before.
      if (peer.facts?.draining !== true) peer.lostAt = this.#context.clock.wall();
      this.#context.log.info({ peer: id }, "a broker has left");
      this.#flows().left(peer, before);
    }
    peer.epoch = epoch;
    this.#chooseFormat();
    if (epoch === undefined) return;
    peer.lostAt = undefined;
    this.#context.log.info({ peer: id, link: `${facts!.linkHost}:${facts!.linkPort}` }, "a broker has joined");
    this.#flows().joined(peer);
  }

  /** Chooses the newest format that all members read. Until they have been read it stays the oldest. */
  #chooseFormat(): void {
    const { self, log } = this.#context;
    if (!this.#hasRead) return;
    const before = self.format;
    const members = this.members();
    self.format = Math.min(formats.newest, ...members.map((peer) => peer.formats.newest));
    if (self.format === before) return;
    // A broker alone writes the newest format: nobody needs to be told.
    log[members.length === 0 ? "debug" : "info"](
      { format: self.format },
      "records are written in another format: the newest that all live brokers read",
    );
    this.#flows().formatChanged(before);
  }

  #seeSelf(epoch: number | undefined): void {
    const { self, coordinator, options } = this.#context;
    // The znode is of an earlier keeper session that is being replaced, or of the one that is ending.
    if (epoch === undefined || epoch <= self.epoch || coordinator.state !== "CONNECTED" || self.isJoining) return;
    this.#fatal(
      new OperatingError("EFENCED", `another broker has joined under the name ${options.id}; give each its own --id`),
    );
  }
}

/**
 * Creates the tree's roots and the broker's own znode, in place of one that an earlier life has left. Returns the
 * broker's epoch. Rejects with `OperatingError` if the store refuses.
 */
export async function joinTree(coordinator: Coordinator, id: string, facts: BrokerFacts): Promise<number> {
  // All roots are requested at once and made in their order: one after the other, each would wait for an answer while
  // no client is served.
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

/**
 * Commits operations. Returns the transaction's number; undefined if it was refused with the code `unless`. Rejects
 * with `OperatingError` if it was refused otherwise.
 */
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

/**
 * Returns the text at `path`, which all brokers of the cluster share: what stands there, or else what `make` returns,
 * which is stored. Rejects with `OperatingError`.
 */
export async function sharedText(
  coordinator: Coordinator,
  path: string,
  make: () => string | Promise<string>,
): Promise<string> {
  const look = (): Promise<ReadResult | undefined> =>
    read(coordinator, [{ kind: "get", path }]).then(([found]) => found);
  let node = await look();
  if (typeof node !== "object") {
    const data = encodeUtf8(await make());
    await write(coordinator, [{ kind: "create", path, data, mode: "persistent" }], "NodeExists");
    node = await look();
  }
  if (!hasData(node)) throw new OperatingError("ESTORE", `${path} is gone from the tree`);
  // An empty node says nothing. If the write is refused, another broker was faster, and what it wrote is read.
  if (node.data.length === 0) {
    const data = encodeUtf8(await make());
    await write(coordinator, [{ kind: "set", path, data, version: node.stat.version }], "BadVersion");
    return sharedText(coordinator, path, make);
  }
  // Any bytes will do, since all brokers decode them to the same text.
  return Buffer.from(node.data).toString();
}
