/**
 * What brokers that are gone have left in `/subscribers` and `/publishers`. Nobody goes by it any more, so there is no hurry:
 * one broker removes it, page by page with rests between, and only while the other one has not come back.
 */
import { ignoreTheWorld } from "../../base/errors.ts";
import { leftoversAfterMs, leftoversPageMax } from "../../base/limits.ts";
import { Timer } from "../../base/timers.ts";
import { read, walk } from "../../coordinator/mirror.ts";
import {
  brokerMark,
  brokerPath,
  commitPath,
  decodeName,
  interestPath,
  nameOf,
  publishersPath,
} from "../../coordinator/paths.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { Membership } from "../peers/membership.ts";
import type { Peer } from "../peers/peer.ts";
import { decodeStamp } from "../peers/stamps.ts";
import type { Publishers } from "./publishers.ts";

export interface LeftoversParts {
  readonly membership: Membership;
  readonly publishers: Publishers;
}

/** Between two pages it rests so many times as long as the last one took, so that it holds nobody up. */
const restPart = 1;
/** Brokers of this format and newer ones do this. */
const sinceFormat = 2;

export class Leftovers {
  readonly #context: ClusterContext;
  readonly #parts: LeftoversParts;
  #isBusy = false;
  readonly #timer = new Timer(() => this.#look());

  constructor(context: ClusterContext, parts: LeftoversParts) {
    this.#context = context;
    this.#parts = parts;
    this.expect();
  }

  /** Something may have been left: it is looked for when whoever left it has had time to come back. */
  expect(): void {
    this.#context.timers.set(this.#timer, this.#context.clock.now() + leftoversAfterMs);
  }

  #look(): void {
    const { coordinator, self } = this.#context;
    if (this.#isBusy || coordinator.state !== "CONNECTED" || self.isFenced) return this.expect();
    this.#isBusy = true;
    this.#clean()
      .catch(ignoreTheWorld)
      .finally(() => {
        this.#isBusy = false;
      });
  }

  async #clean(): Promise<void> {
    const { options, peers } = this.#context;
    const { membership, publishers } = this.#parts;
    const registered = await this.#registered();
    const own = (registered.get(options.id) ?? []).filter((path) => !publishers.isRegistered(path));
    await this.#remove(own, { isStillSo: () => true });
    if (!membership.isLowestOf(sinceFormat)) return;
    const ids = new Set([...peers.keys(), ...registered.keys()]);
    ids.delete(options.id);
    for (const id of ids) {
      const peer = membership.peer(id);
      if (!peer.isMember) await this.#removeOf(peer, registered.get(id) ?? []);
    }
  }

  /** Where each broker has registered publishers, and names an epoch; what does not goes with its keeper session. */
  async #registered(): Promise<Map<string, string[]>> {
    const found = new Map<string, string[]>();
    await walk(this.#context.coordinator, publishersPath, (path, { data }) => {
      const name = nameOf(path);
      if (!name.startsWith(brokerMark) || typeof decodeStamp(data) !== "number") return;
      const id = decodeName(name.slice(1));
      const paths = found.get(id) ?? [];
      found.set(id, paths);
      paths.push(path);
    });
    return found;
  }

  /**
   * Each commit of a broker changes its node in `/commits`, the first one before it joins: one that comes back meanwhile
   * keeps what is there.
   */
  async #removeOf(peer: Peer, registered: readonly string[]): Promise<void> {
    const { coordinator, log } = this.#context;
    const [commits, broker] = await read(coordinator, [
      { kind: "exists", path: commitPath(peer.id) },
      { kind: "exists", path: brokerPath(peer.id) },
    ]);
    if (broker !== "NoNode" || peer.isMember) return;
    const version = typeof commits === "object" && "stat" in commits ? commits.stat.version : undefined;
    const guard: JournalOperation | undefined =
      version === undefined ? undefined : { kind: "check", path: commitPath(peer.id), version: () => version };
    const how = { guard, isStillSo: () => !peer.isMember };
    const count = (await this.#remove(registered, how)) + (await this.#remove(announcedBy(peer), how));
    if (count > 0) log.info({ peer: peer.id, nodes: count }, "what a broker that is gone had announced is removed");
  }

  /** How many were removed, and the rest was not, if it came back. */
  async #remove(paths: Iterable<string>, { guard, isStillSo }: How): Promise<number> {
    const { clock, timers } = this.#context;
    let count = 0;
    for (const page of pagesOf(paths)) {
      if (!isStillSo()) break;
      const startedAt = clock.now();
      if (!(await this.#commit(page, guard))) {
        // It commits something, on its way in or out.
        this.expect();
        break;
      }
      count += page.length;
      const now = clock.now();
      const rest = 1 + restPart * (now - startedAt);
      await new Promise<void>((resolve) => timers.set(new Timer(() => resolve()), now + rest));
    }
    return count;
  }

  #commit(paths: readonly string[], guard: JournalOperation | undefined): Promise<boolean> {
    const removals = paths.map((path): JournalOperation => ({ kind: "remove", path }));
    return new Promise((resolve) => {
      this.#context.journal.commitAll(removals, {
        guard,
        done: () => resolve(true),
        refused: () => resolve(false),
      });
    });
  }
}

interface How {
  readonly guard?: JournalOperation | undefined;
  readonly isStillSo: () => boolean;
}

/** What stands in the tree under a broker's name, and is no keeper session's. */
function* announcedBy(peer: Peer): Generator<string> {
  for (const [text, { stamp }] of peer.interest) if (stamp !== "unnamed") yield interestPath(text, peer.id);
}

function* pagesOf(paths: Iterable<string>): Generator<string[]> {
  let page: string[] = [];
  for (const path of paths) {
    page.push(path);
    if (page.length < leftoversPageMax) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}
