/** Looks at any broker over MQTT: what it tells below `$SYS`, and what is published meanwhile. */
import { systemClock } from "../../src/base/clock.ts";
import type { Message } from "../../src/client/connection-options.ts";
import type { Look } from "./look.ts";
import { rateNames } from "./look.ts";
import { SysValues } from "./sys-values.ts";
import { TopicRates } from "./topic-rates.ts";

export class MqttSource {
  readonly #where: string;
  readonly #topicsShown: number | undefined;
  readonly #sys = new SysValues();
  readonly #topics = new TopicRates(systemClock.now());

  /** `topics`: how many of the busiest are shown; undefined: none, since nobody has subscribed to them. */
  constructor(where: string, { topics }: { readonly topics: number | undefined }) {
    this.#where = where;
    this.#topicsShown = topics;
  }

  /** Takes a message as the subscriber hands it over; nothing is printed of it. */
  bytesOf({ topic, payload, retain }: Message): undefined {
    if (topic.startsWith("$SYS/")) this.#sys.take(topic, Buffer.from(payload).toString("utf8"), systemClock.now());
    // What is retained was not published now.
    else if (!retain) this.#topics.add(topic, payload.length);
  }

  look(): Look {
    const { busiest, all, topics } = this.#topics.take(systemClock.now(), this.#topicsShown ?? 0);
    const sys = this.#sys;
    const rates = Object.fromEntries(rateNames.map((name) => [name, sys.rate(name)])) as Look["rates"];
    // Of a broker that has not told it yet, or never does, what is heard is all that is known.
    const heard = { ...rates, received: all.messages, bytesReceived: all.bytes };
    const known = Object.fromEntries(Object.entries(rates).filter(([, rate]) => rate !== undefined));
    return {
      at: systemClock.wall(),
      where: this.#where,
      version: sys.text("version"),
      uptime: sys.text("uptime"),
      ...{ clients: sys.number("clients"), sessions: sys.number("sessions") },
      ...{ subscriptions: sys.number("subscriptions"), retained: sys.number("retained") },
      memoryBytes: sys.number("memory"),
      rates: this.#topicsShown === undefined ? rates : { ...heard, ...known },
      topics: this.#topicsShown === undefined ? undefined : { busiest, count: topics },
      busiestClients: undefined,
    };
  }
}
