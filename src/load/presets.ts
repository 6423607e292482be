/**
 * The scenarios of the Open MQTT Benchmark Suite by their names: `p2p-1K-1K-1K-1K` and the like, with whatever numbers.
 */
import type { Plan } from "./plan.ts";

/** The part of a plan that a preset's name stands for; the rest is the caller's. */
export type Preset = Pick<Plan, "publishers" | "subscribers" | "idle" | "topic" | "filter" | "rate"> &
  Partial<Pick<Plan, "connectRate">> & { readonly isTls: boolean };

/** The QoS of the suite's scenarios with messages; their payloads have 16 bytes. */
export const presetQos = 1;
export const presetPayloadBytes = 16;

export const presetNames = ["conn-tcp-10k-100", "p2p-1K-1K-1K-1K", "fanout-1-1K-1-1K", "sharedsub-1K-5-1K-1K"] as const;

/** Undefined: it is no such name. */
export function readPreset(name: string): Preset | undefined {
  const [, connections, perSecond] = /^conn-(?:tcp|tls)-(\d+[kKmM]?)-(\d+[kKmM]?)$/.exec(name) ?? [];
  if (connections !== undefined)
    return {
      publishers: 0,
      subscribers: 0,
      idle: numberOf(connections),
      topic: "",
      filter: "",
      rate: 0,
      connectRate: numberOf(perSecond!),
      isTls: name.startsWith("conn-tls"),
    };
  const match = /^(p2p|fanout|sharedsub)-(\d+[kKmM]?)-(\d+[kKmM]?)-(\d+[kKmM]?)-(\d+[kKmM]?)$/.exec(name);
  if (match === null) return undefined;
  const [publishers, subscribers, topics, throughput] = match.slice(2).map(numberOf) as [
    number,
    number,
    number,
    number,
  ];
  const parties = { publishers, subscribers, idle: 0, isTls: false };
  switch (match[1]) {
    // Publisher i to subscriber i.
    case "p2p":
      return publishers === subscribers && topics === publishers
        ? { ...parties, topic: "bench/p2p/%i", filter: "bench/p2p/%i", rate: throughput }
        : undefined;
    // Everybody gets everything; the throughput is that of the deliveries.
    case "fanout":
      return topics === publishers
        ? { ...parties, topic: "bench/fanout/%i", filter: "bench/fanout/#", rate: throughput / subscribers }
        : undefined;
    // The subscribers are a group that shares what comes.
    default:
      return topics === publishers
        ? { ...parties, topic: "bench/shared/%i", filter: "$share/bench/bench/shared/#", rate: throughput }
        : undefined;
  }
}

function numberOf(text: string): number {
  const unit = { k: 1000, m: 1_000_000 }[text.at(-1)!.toLowerCase()];
  return unit === undefined ? Number(text) : Number(text.slice(0, -1)) * unit;
}
