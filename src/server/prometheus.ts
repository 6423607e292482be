/** The broker's metrics in Prometheus' text format, written by prom-client. */

import { Registry } from "prom-client";
import type { Gateway } from "../mqttsn/gateway.ts";
import { type Family, gatewayFamilies } from "./metric-families.ts";

/** The metrics of a running broker. */
export class PrometheusMetrics {
  readonly #registry = new Registry();

  constructor(families: readonly Family[]) {
    this.#register(families);
  }

  /** Adds what there is of MQTT-SN, once its door is open. */
  addGateway(gateway: Gateway<unknown>): void {
    this.#register(gatewayFamilies(gateway));
  }

  #register(families: readonly Family[]): void {
    for (const { name, type, help, samples } of families) {
      const metric = {
        name,
        help,
        get: async () => ({
          name,
          help,
          type,
          aggregator: "sum",
          values: samples().map((sample) => ({ labels: {}, ...sample })),
        }),
      };
      // Anything with a name and `get` is a metric to the registry, whatever its types say.
      this.#registry.registerMetric(metric as never);
    }
  }

  /** The Content-Type of `text`. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Returns all metrics in the text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
