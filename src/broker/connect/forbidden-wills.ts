/**
 * Wills that the access list forbids. Their clients are let in all the same, as by mosquitto, and nothing is published:
 * a bridge whose user may only read and write what it passes on has a will on its state, and could never connect.
 */
import { networkOf } from "../../access/bans.ts";
import { describeRule } from "../../access/permissions.ts";
import { logTextMax } from "../../base/limits.ts";
import { LineLimit, standingFor } from "../../base/line-limit.ts";
import { topicOf } from "../../mqtt/publish.ts";
import type { Runtime } from "../core/runtime.ts";
import type { Connection } from "../delivery/connection.ts";
import type { AuthenticatedRequest } from "./granted-request.ts";

const words = "the will is not taken: the access list does not allow it";

/** Takes such wills out of CONNECTs. */
export class ForbiddenWills {
  readonly #context: Pick<Runtime, "options" | "metrics" | "log" | "clock" | "refused">;
  readonly #lines = new LineLimit<"will">();

  constructor(context: Pick<Runtime, "options" | "metrics" | "log" | "clock" | "refused">) {
    this.#context = context;
  }

  /** Returns a CONNECT without its will, if that is forbidden: counted, some are logged, and CONNACK says so. */
  leftOut(connection: Connection, request: AuthenticatedRequest): AuthenticatedRequest {
    const { will, login, clientId } = request;
    if (will === undefined || login.permissions?.mayPublish(topicOf(will.publish)) !== false) return request;
    const { options, metrics, log, clock, refused } = this.#context;
    metrics.forbidden.will++;
    const { remote, address } = connection.transport;
    const decision = login.permissions.decide(topicOf(will.publish), "write");
    const reason = (): string => `${words}: ${describeRule(decision, options.aclFile)}`;
    refused.note({ kind: "will", cause: "forbidden", reason, clientId, remote });
    const stands = this.#lines.take("will", clock.now(), networkOf(address));
    const facts = { remote, client: clientId.slice(0, logTextMax), topic: topicOf(will.publish).slice(0, logTextMax) };
    if (stands > 0) log.info(facts, standingFor(words, stands));
    return { ...request, will: undefined, notice: words };
  }
}
