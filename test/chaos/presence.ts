/**
 * Devices that say when they come, with wills that say when they are gone, and a watcher who believes them: whoever is
 * up must not be declared dead, and whoever is gone must be.
 */
import { decodeUtf8 } from "../../src/base/bytes.ts";
import { ClientSession } from "../../src/client/client-session.ts";
import type { MqttConnection } from "../../src/client/connection.ts";
import { connect } from "../../src/client/dial.ts";
import type { Where } from "./workers.ts";

const topic = "presence";
/**
 * The time for which a device may still believe in a connection that its broker has rightly given up: twice its keep
 * alive.
 */
const doubtMs = 4_000;

/** A client with a will, connected again whenever its connection breaks; each connection has a number. */
export class Device {
  readonly name: string;
  client: MqttConnection | undefined;
  /** The number of the connection that is up, or was last. */
  life = 0;
  isUp = false;
  /** Where each of its connections was made, or tried, by their numbers. */
  readonly ports = new Map<number, number>();
  #isComing = false;
  readonly #where: Where;

  constructor(name: string, where: Where) {
    this.name = name;
    this.#where = where;
  }

  async comeBack(): Promise<void> {
    if (this.isUp || this.#isComing) return;
    this.#isComing = true;
    const life = ++this.life;
    const port = this.#where();
    this.ports.set(life, port);
    // It may be closed again before anybody is told that it was open.
    let isClosed = false;
    try {
      const client = await connect({
        host: "127.0.0.1",
        port,
        clientId: this.name,
        clean: true,
        keepAlive: 2,
        connectTimeout: 5,
        will: { topic: `${topic}/${this.name}`, payload: `down ${life}`, qos: 1, retain: false },
        onClose: () => {
          isClosed = true;
          if (this.life === life) this.isUp = false;
        },
      });
      this.client = client;
      this.isUp = !isClosed;
      await client.publish(`${topic}/${this.name}`, `up ${life}`, { qos: 1 });
    } catch {
      // Its broker has died meanwhile: it comes again.
    } finally {
      this.#isComing = false;
    }
  }

  /** Vanishes without a word: its will is due. */
  vanish(): void {
    this.isUp = false;
    this.client?.abort("it vanishes");
  }
}

/** Hears of all devices, with a session that outlives its connection, and judges what it hears. */
export class Watcher {
  readonly session = new ClientSession();
  readonly #devices: ReadonlyMap<string, Device>;
  /** The last connection of each device that has said that it is up. */
  readonly #up = new Map<string, number>();
  readonly #down = new Map<string, Set<number>>();
  readonly #doubts: { readonly device: Device; readonly life: number; readonly at: number }[] = [];
  readonly #wrong: string[] = [];
  /** Words that were true when they were said, and came after what has been said since. */
  #late: { readonly device: Device; readonly life: number; readonly up: number }[] = [];
  client: MqttConnection | undefined;
  isUp = false;
  #isComing = false;
  #isSubscribed = false;
  readonly #where: Where;

  constructor(devices: readonly Device[], where: Where) {
    this.#devices = new Map(devices.map((device) => [device.name, device]));
    this.#where = where;
  }

  get isReady(): boolean {
    return this.isUp && this.#isSubscribed;
  }

  async comeBack(): Promise<void> {
    if (this.isReady || this.#isComing) return;
    this.#isComing = true;
    try {
      if (!this.isUp) {
        let isClosed = false;
        this.client = await connect({
          host: "127.0.0.1",
          port: this.#where(),
          clientId: "watcher",
          clean: false,
          keepAlive: 2,
          connectTimeout: 5,
          sessionExpiryInterval: 0xffff_ffff,
          session: this.session,
          onMessage: ({ topic: of, payload }) => this.#hear(of.slice(topic.length + 1), decodeUtf8(payload)),
          onClose: () => {
            isClosed = true;
            this.isUp = false;
          },
        });
        this.isUp = !isClosed;
      }
      if (!this.#isSubscribed) await this.client!.subscribe([`${topic}/#`], { qos: 1 });
      this.#isSubscribed = true;
    } catch {
      // As above.
    } finally {
      this.#isComing = false;
    }
  }

  #hear(name: string, words: string): void {
    const device = this.#devices.get(name);
    if (device === undefined) return;
    const [state, number] = words.split(" ") as [string, string];
    const life = Number(number);
    if (state === "up") {
      this.#up.set(name, Math.max(life, this.#up.get(name) ?? 0));
      return;
    }
    const downs = this.#down.get(name) ?? new Set();
    this.#down.set(name, downs);
    // At QoS 1 a will may come twice; the first one counts.
    if (downs.has(life)) return;
    downs.add(life);
    const up = this.#up.get(name) ?? 0;
    if (up > life) this.#late.push({ device, life, up });
    if (device.isUp && device.life === life) this.#doubts.push({ device, life, at: performance.now() });
  }

  /** True once the watcher knows of each device what is true. */
  get isRight(): boolean {
    return [...this.#devices.values()].every(({ name, life, isUp }) => {
      const isDown = this.#down.get(name)?.has(life) === true;
      return isUp ? this.#up.get(name) === life && !isDown : isDown;
    });
  }

  /**
   * Takes the words that came too late since it was last asked. A client is let in where the broker that it came from
   * cannot be asked, and so cannot say that the will is still under way: `areCut` says whether the link between two
   * brokers, by their clients' ports, was cut. For everything else there is no excuse.
   */
  takeLate(areCut: (one: number, other: number) => boolean): string[] {
    const late = this.#late.filter(({ device, life, up }) => {
      const from = device.ports.get(life)!;
      const since = Array.from({ length: up - life }, (_, at) => device.ports.get(life + 1 + at)!);
      return !since.some((to) => areCut(from, to));
    });
    this.#late = [];
    return late.map(
      ({ device, life, up }) => `${device.name} was declared dead as ${life} after it had come back as ${up}`,
    );
  }

  /** Lists what was said and is not true. */
  wrong(): string[] {
    const now = performance.now();
    for (const { device, life, at } of this.#doubts) {
      if (now - at < doubtMs || !device.isUp || device.life !== life) continue;
      const words = `${device.name} is declared dead as ${life}, and still connected`;
      if (!this.#wrong.includes(words)) this.#wrong.push(words);
    }
    return this.#wrong;
  }

  /** Describes what each device is, and what is believed of it. */
  describe(): string {
    const words = [...this.#devices.values()].map(({ name, life, isUp }) => {
      const downs = Math.max(0, ...(this.#down.get(name) ?? []));
      return `${name}: ${isUp ? "up" : "gone"} as ${life}, believed up ${this.#up.get(name) ?? 0}, down ${downs}`;
    });
    return words.join("; ");
  }
}
