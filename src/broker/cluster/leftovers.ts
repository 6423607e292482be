/**
 * Leftovers: nodes of brokers that are gone, in `/subscribers` and `/publishers`. They are not in use any more, so
 * there is no hurry: one broker removes them, page by page with rests between, and only while the other one has not
 * come back.
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
import { hasStat } from "../../coordinator/read-results.ts";
import type { JournalOperation } from "../../mail/operations.ts";
import { decodeStamp } from "../../mail/stamp.ts";
import type { ClusterContext } from "../peers/cluster-context.ts";
import type { Membership } from "../peers/membership.ts";
import type { Peer } from "../peers/peer.ts";
import type { Publishers } from "./publishers.ts";

export interface LeftoversParts {
  readonly membership: Membership;
  readonly publishers: Publishers;
}

/** The rest between two pages, as a multiple of the time that the last one took, so that others are not delayed. */
const restPart = 1;
/** The oldest format whose brokers remove leftovers. */
const sinceFormat = 2;

/** Looks for leftovers after a broker has left, and once after the start, and removes them. */
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

  /** Has leftovers looked for after `leftoversAfterMs`: the broker that has left has time to come back. */
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

  /**
   * Returns the nodes below `/publishers` that name an epoch, by broker; those that do not end with a keeper session.
   */
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
   * Removes what a broker has left. Each commit of a broker changes its node in `/commits`, the first one before it
   * joins: so one that comes back meanwhile keeps what is there.
   */
  async #removeOf(peer: Peer, registered: readonly string[]): Promise<void> {
    const { coordinator, log } = this.#context;
    const [commits, broker] = await read(coordinator, [
      { kind: "exists", path: commitPath(peer.id) },
      { kind: "exists", path: brokerPath(peer.id) },
    ]);
    if (broker !== "NoNode" || peer.isMember) return;
    const version = hasStat(commits) ? commits.stat.version : undefined;
    const guard: JournalOperation | undefined =
      version === undefined ? undefined : { kind: "check", path: commitPath(peer.id), version: () => version };
    const how = { guard, isStillSo: () => !peer.isMember };
    const count = (await this.#remove(registered, how)) + (await this.#remove(announcedBy(peer), how));
    if (count > 0) log.info({ peer: peer.id, nodes: count }, "what a broker that is gone had announced is removed");
  }

  /** Removes nodes page by page. Returns how many were removed: the rest was not, if the broker came back. */
  async #remove(paths: Iterable<string>, { guard, isStillSo }: How): Promise<number> {
    const { clock, timers } = this.#context;
    let count = 0;
    for (const page of pagesOf(paths)) {
      if (!isStillSo()) break;
      const startedAt = clock.now();
      if (!(await this.#commit(page, guard))) {
        // The broker commits something: it is joining, or still leaving.
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

/** Yields the paths of what a broker has announced and what does not end with its keeper session. */
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
