/**
 * Devices with a retained status: each says that it is online when it has connected, and its will says that it is not.
 * What stands there in the end must be true, and the same for everybody.
 */
import { decodeUtf8 } from "../../src/base/bytes.ts";
import type { MqttConnection } from "../../src/client/connection.ts";
import type { ConnectionOptions, Message } from "../../src/client/connection-options.ts";
import { Actor } from "./actors.ts";
import { retainedTexts } from "./checkers.ts";
import type { World } from "./world.ts";

const topicOf = (name: string): string => `status/${name}`;

/** A publish that was refused is tried again after so long. */
const retryMs = 500;

export class StatusActor extends Actor {
  /** Counts connections: each has a will of its own. */
  #number = 0;
  /** How it went, if it has gone for good. */
  #farewell: "with a word" | "without a word" | undefined;
  #isTold = false;
  /** Seconds. */
  readonly #willDelay: number;

  constructor(
    name: string,
    { willDelay, ...options }: ConstructorParameters<typeof Actor>[1] & { readonly willDelay: number },
  ) {
    super(name, options);
    this.#willDelay = willDelay;
  }

  /** The status that must be retained of it now. */
  get due(): string {
    return this.#farewell === "without a word" ? `offline ${this.#number}` : `online ${this.#number}`;
  }

  /** Whether the broker has taken over what it has said of itself. */
  get isSettled(): boolean {
    return this.#farewell !== undefined || (this.up && this.#isTold);
  }

  /** Goes for good, if it can: it must have said that it is there. */
  goForGood(how: "with a word" | "without a word"): void {
    if (!this.up || !this.#isTold || this.#farewell !== undefined) return;
    this.#farewell = how;
    this.isAway = true;
    if (how === "with a word") this.client!.disconnect();
    else this.client!.abort("gone");
  }

  protected override nextConnection(): Partial<ConnectionOptions> {
    this.#number++;
    this.#isTold = false;
    const properties = this.#willDelay > 0 ? { willDelayInterval: this.#willDelay } : {};
    const payload = `offline ${this.#number}`;
    return { will: { topic: topicOf(this.name), payload, qos: 1, retain: true, properties } };
  }

  protected override connected(client: MqttConnection): void {
    this.#tell(client, this.#number);
  }

  /** Says that it is online; again, if the bank cannot pay for it just now. */
  #tell(client: MqttConnection, number: number): void {
    client
      .publish(topicOf(this.name), `online ${number}`, { qos: 1, retain: true })
      .then((reason) => {
        if (!this.up || this.#number !== number) return;
        if (reason < 0x80) this.#isTold = true;
        else this.world.after(retryMs, () => this.up && this.#number === number && this.#tell(client, number));
      })
      .catch(() => {});
  }
}

/** Sees what devices say, and their wills. */
export class StatusWatcher extends Actor {
  readonly last = new Map<string, string>();
  readonly #seen = new Set<string>();

  protected override received({ topic, payload }: Message): void {
    const text = decodeUtf8(payload);
    // At QoS 1 something may come once more, later: each is something of its own.
    if (!this.#seen.has(`${topic} ${text}`)) this.last.set(topic, text);
    this.#seen.add(`${topic} ${text}`);
  }
}

/**
 * Finds what is said of the devices and is not true: in the store, at each broker, and at the watcher if one is given.
 */
export function untruePresence(
  world: World,
  devices: readonly StatusActor[],
  watcher: StatusWatcher | undefined,
): string[] {
  return devices.flatMap((device) => {
    const topic = topicOf(device.name);
    const told = retainedTexts(world, topic);
    if (watcher !== undefined) told.set("who watches", watcher.last.get(topic));
    const wrong = [...told].filter(([, text]) => text !== device.due);
    return wrong.map(([who, text]) => `${device.name} is ${device.due}: ${who} has ${text}`);
  });
}
