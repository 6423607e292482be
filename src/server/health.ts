/**
 * The answers to probes: does the event loop turn, has everything been read, may clients come? Each names its reasons,
 * so that a person woken at night knows where to look.
 */

import { hookAnswerBytesMax } from "../base/access-limits.ts";
import type { ClusterContext } from "../broker/peers/cluster-context.ts";
import type { Coordinator } from "../coordinator/coordinator.ts";
import { type Answer, askHttp } from "../net/http.ts";
import type { Check, Liveness } from "./liveness.ts";

/** The health of one broker, from before its store is open. */
export class Health {
  /** The broker's context; undefined while the broker starts. */
  #context: ClusterContext | undefined;
  /** The check of progress; undefined until the store is open. */
  #liveness: Liveness | undefined;
  /** The reason why there is no contact with the store; "": there is. */
  #storeTrouble = "";

  /** Notes that the store is open. */
  opened(liveness: Liveness): void {
    this.#liveness = liveness;
  }

  /** Notes that the broker has started. */
  started(context: ClusterContext): void {
    this.#context = context;
    this.#liveness?.started(context);
    context.coordinator.onState((state, why) => {
      this.#storeTrouble = state === "CONNECTED" ? "" : (why ?? state);
    });
  }

  /** The checks that `/readyz` answers. */
  get ready(): readonly Check[] {
    return this.#ready();
  }

  /** The checks that `/livez` answers. */
  get live(): readonly Check[] {
    return [{ name: "event loop", ok: true, why: "it turns" }, ...(this.#liveness?.checks ?? [])];
  }

  /** Answers a probe, with status 200 or 503; undefined if the path is none of a probe. */
  answer(path: string): Answer | undefined {
    if (path === "/livez") return answerOf(this.live);
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
        // Strangers in the tree are no reason to send this broker no clients.
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

/** The paths of the probes. */
export const probes = { ready: "/readyz", live: "/livez", start: "/startupz" } as const;

/** Asks a broker's probe, for at most `patienceMs`; undefined if it does not answer. */
export async function askHealth(
  host: string,
  port: number,
  { probe, patienceMs, isTls }: { probe: keyof typeof probes; patienceMs: number; isTls: boolean },
): Promise<readonly Check[] | undefined> {
  // As Kubernetes' probes: nothing is told to whoever answers, so his certificate is not looked at.
  const init = { tls: { rejectUnauthorized: false } };
  const how = { ms: patienceMs, bytesMax: hookAnswerBytesMax, init };
  const answer = await askHttp(`${isTls ? "https" : "http"}://${host}:${port}${probes[probe]}`, how);
  return answer && (JSON.parse(answer.body) as { checks: readonly Check[] }).checks;
}

/** Describes a store that works, though not all of it may be served. */
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
