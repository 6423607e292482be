/**
 * What probes ask, in words: does the event loop turn, has everything been read, may clients come? Each answer names
 * its reasons, so that whoever is woken at night knows where to look.
 */

import type { ClusterContext } from "../broker/peers/cluster-context.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { type Answer, getHttp } from "../net/http.ts";
import type { Check, Liveness } from "./liveness.ts";

export class Health {
  /** Undefined while the broker starts. */
  #context: ClusterContext | undefined;
  /** Undefined until the store is open. */
  #liveness: Liveness | undefined;
  /** What the store says, where it is not well. */
  #storeTrouble = "";

  opened(liveness: Liveness): void {
    this.#liveness = liveness;
  }

  started(context: ClusterContext): void {
    this.#context = context;
    this.#liveness?.started(context);
    context.coordinator.onState((state, why) => {
      this.#storeTrouble = state === "CONNECTED" ? "" : (why ?? state);
    });
  }

  /** Undefined: nothing is to be found there. */
  answer(path: string): Answer | undefined {
    if (path === "/livez")
      return answerOf([{ name: "event loop", ok: true, why: "it turns" }, ...(this.#liveness?.checks ?? [])]);
    if (path === "/startupz") return answerOf([this.#start()]);
    if (path === "/readyz") return answerOf(this.#ready());
    return undefined;
  }

  #start(): Check {
    const ok = this.#context !== undefined;
    const why = ok ? "subscriptions, retained messages and sessions have been read" : "the store is being read";
    return { name: "start", ok, why };
  }

  #ready(): Check[] {
    const start = this.#start();
    if (this.#context === undefined) return [start];
    const { coordinator, self, bankAccount, strangers } = this.#context;
    const isConnected = coordinator.state === "CONNECTED";
    return [
      start,
      {
        name: "store",
        ok: isConnected,
        why: isConnected
          ? wellOf(coordinator)
          : `no contact; what needs it waits, unacknowledged: ${this.#storeTrouble}`,
      },
      {
        name: "sessions",
        ok: !self.isFenced,
        why: self.isFenced
          ? "no contact for longer than the session timeout: persistent sessions are not served"
          : "persistent sessions are served",
      },
      {
        name: "bank",
        ok: bankAccount.account.isOpen,
        why: bankAccount.account.isOpen ? "the branch is open" : "the branch is being opened: nothing can be stored",
      },
      {
        name: "tree",
        // What others have left there keeps nobody from being served.
        ok: true,
        why: strangers.count === 0 ? "all of it is ours" : `${strangers.count} znodes are left out: ${strangers.words}`,
      },
      {
        name: "drain",
        ok: !self.isDraining,
        why: self.isDraining ? "clients are being sent to other brokers" : "clients may come",
      },
    ];
  }
}

export const probes = { ready: "/readyz", live: "/livez", start: "/startupz" } as const;

/** What a broker's probe says; undefined if it does not answer. */
export async function askHealth(
  host: string,
  port: number,
  { probe, patienceMs }: { probe: keyof typeof probes; patienceMs: number },
): Promise<readonly Check[] | undefined> {
  const answer = await getHttp(`http://${host}:${port}${probes[probe]}`, patienceMs);
  return answer && (JSON.parse(answer.body) as { checks: readonly Check[] }).checks;
}

/** A store that works, though not all of it is served. */
function wellOf({ damagedRecords = 0, isFull = false }: Coordinator): string {
  if (isFull) return "its disk is nearly full: nothing new is stored until there is room";
  return damagedRecords === 0 ? "it answers" : `it answers; ${damagedRecords} damaged records are not served`;
}

function answerOf(checks: readonly Check[]): Answer {
  const ok = checks.every((check) => check.ok);
  return {
    status: ok ? 200 : 503,
    type: "application/json",
    body: `${JSON.stringify({ ok, checks })}\n`,
  };
}
