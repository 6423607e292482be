/** The attacks that `hostile.ts` draws from: each is all that one kind of packet, or of habit, can be made to cost. */
import mqttPacket from "mqtt-packet";
import { filtersPerPacketMax, propertiesPerPacketMax } from "../../src/base/limits.ts";
import { type AnyPacket, connectPacket, RawClient } from "../support/raw-client.ts";

/** One attacker: the way to the broker, chance, and connections that end with the attack. */
export class Battlefield {
  readonly #port: number;
  readonly #random: { next(): number };
  readonly #clients: RawClient[] = [];

  constructor(port: number, random: { next(): number }) {
    this.#port = port;
    this.#random = random;
  }

  below(limit: number): number {
    return Math.floor(this.#random.next() * limit);
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }

  async dial(): Promise<RawClient> {
    const client = await RawClient.dial(this.#port, 5);
    this.#clients.push(client);
    return client;
  }

  /** Connects a client of MQTT 5; rejects if it is refused. */
  async connect(options: AnyPacket = {}): Promise<RawClient> {
    const client = await this.dial();
    client.send(connectPacket({ protocolVersion: 5, ...options }));
    const { reasonCode } = await client.take("connack");
    if (reasonCode !== 0) throw new Error(`refused: ${reasonCode}`);
    return client;
  }

  /** Connects a client whose session outlives it, of a few hundred client ids. */
  lasting(more: AnyPacket = {}): Promise<RawClient> {
    const properties = { sessionExpiryInterval: this.pick([1, 5, 60, 0xffff_ffff]) };
    return this.connect({ clientId: `lasting-${this.below(300)}`, clean: this.below(3) === 0, properties, ...more });
  }

  topic(): string {
    return Array.from({ length: 1 + this.below(this.pick([3, 8, 32])) }, () => this.pick(levels)(this)).join("/");
  }

  filter(): string {
    const words = this.topic().split("/");
    const wild = words.map((word) => (this.below(3) === 0 ? "+" : word));
    return [...wild, ...(this.below(4) === 0 ? ["#"] : [])].join("/");
  }

  /** Ends all connections of the attack. */
  retreat(): void {
    for (const client of this.#clients.splice(0)) client.abort();
  }
}

const levels: readonly ((field: Battlefield) => string)[] = [
  () => "a",
  (field) => `n${field.below(50)}`,
  (field) => `x${field.below(100_000)}`,
  (field) => "long".repeat(field.below(50)),
  () => "",
  () => "\u{1f412}",
];

const counting = (count: number): number[] => [...Array(count).keys()];
const encode = (packet: AnyPacket): Buffer => mqttPacket.generate(packet, { protocolVersion: 5 });

function publish(field: Battlefield, more: AnyPacket = {}): Buffer {
  const payload = Buffer.alloc(field.below(field.pick([1, 100, 5000])), 120);
  const qos = field.below(3);
  const messageId = 1 + field.below(60_000);
  return encode({ cmd: "publish", topic: field.topic(), payload, qos, messageId, dup: false, retain: false, ...more });
}

async function flood(field: Battlefield, more: () => AnyPacket): Promise<void> {
  const client = await field.lasting();
  for (let round = 0; round < 20 && !client.closed; round++) {
    client.write(Buffer.concat(counting(200).map(() => publish(field, more()))));
    await client.ping();
    client.packets.length = 0;
  }
}

async function subscribe(client: RawClient, topics: readonly string[], qos: number): Promise<void> {
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: topics.map((topic) => ({ topic, qos })) });
  await client.take("suback");
}

/** The attacks by their names. What they reject with does not matter. */
export const attacks: Readonly<Record<string, (field: Battlefield) => Promise<void>>> = {
  async subscribe(field) {
    const client = await field.lasting();
    for (let round = 0; round < 5; round++) {
      const topics = counting(field.pick([10, 500, 5000])).map(() => field.filter());
      await subscribe(client, topics, field.below(3));
      const unsubscriptions = topics.filter(() => field.below(2) === 0);
      if (unsubscriptions.length === 0) continue;
      client.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions });
      await client.take("unsuback");
    }
  },
  async mostFilters(field) {
    const client = await field.connect();
    const name = field.below(1000);
    await subscribe(
      client,
      counting(filtersPerPacketMax).map((at) => `m${name}/${at}`),
      0,
    );
  },
  publish: (field) => flood(field, () => ({})),
  retain: (field) => flood(field, () => ({ retain: true, ...(field.below(3) === 0 ? { payload: "" } : {}) })),
  async everything(field) {
    const readers = await Promise.all(counting(20).map(() => field.lasting()));
    for (const reader of readers) {
      await subscribe(reader, ["#", "+/#", "$SYS/#", `$share/g${field.below(5)}/#`], 2);
      if (field.below(3) === 0) reader.pause();
    }
    await flood(field, () => ({}));
  },
  async groups(field) {
    const member = await field.lasting();
    await subscribe(
      member,
      counting(3000).map((at) => `$share/g${at}/${field.pick(["#", "a/#", "+"])}`),
      1,
    );
    await flood(field, () => ({ topic: "a" }));
  },
  async mail(field) {
    const sleeper = await field.lasting({ clientId: `sleeper-${field.below(5)}` });
    await subscribe(sleeper, ["mail/#"], field.pick([1, 2]));
    sleeper.disconnect();
    await flood(field, () => ({ topic: `mail/${field.below(9)}`, qos: field.pick([1, 2]) }));
    const back = await field.lasting({ clientId: `sleeper-${field.below(5)}`, clean: false });
    await back.ping();
  },
  async wills(field) {
    for (let round = 0; round < 3; round++) {
      const options = (): AnyPacket => ({
        will: {
          ...{ topic: field.topic(), payload: Buffer.alloc(field.below(5000)), qos: field.below(3) },
          retain: field.below(2) === 0,
          properties: { willDelayInterval: field.pick([0, 1, 100]) },
        },
      });
      const clients = await Promise.all(counting(50).map(() => field.lasting(options())));
      for (const client of clients) field.below(2) === 0 ? client.abort() : client.disconnect({ reasonCode: 4 });
    }
  },
  async takeOver(field) {
    const clientId = `taken-${field.below(3)}`;
    for (let round = 0; round < 10; round++)
      await Promise.allSettled(counting(30).map(() => field.lasting({ clientId, clean: field.below(2) === 0 })));
  },
  async connects(field) {
    for (let round = 0; round < 5; round++) await Promise.allSettled(counting(100).map(() => field.connect()));
  },
  async acks(field) {
    const client = await field.lasting();
    for (const type of [0x40, 0x50, 0x62, 0x70])
      client.write(Buffer.alloc(4 * 50_000, Buffer.from([type, 2, field.below(256), 1 + field.below(255)])));
    await client.ping();
  },
  async held(field) {
    const client = await field.lasting();
    const id = (at: number): AnyPacket => ({ topic: "held", qos: 2, messageId: at + 1, payload: "x" });
    client.write(Buffer.concat(counting(1000).map((at) => publish(field, id(at)))));
    await client.ping();
    client.write(
      Buffer.concat(counting(1000).map((at) => encode({ cmd: "pubrel", messageId: at + 1, reasonCode: 0 }))),
    );
    await client.ping();
  },
  async aliases(field) {
    const client = await field.connect();
    const alias = (): AnyPacket => ({ qos: 0, properties: { topicAlias: 1 + field.below(64) } });
    for (let round = 0; round < 20 && !client.closed; round++) {
      client.write(Buffer.concat(counting(500).map(() => publish(field, alias()))));
      await client.ping();
    }
  },
  async properties(field) {
    const client = await field.connect();
    const userProperties = { k: Array(propertiesPerPacketMax).fill("v") };
    for (let round = 0; round < 20 && !client.closed; round++) {
      client.write(publish(field, { properties: { userProperties } }));
      await client.ping();
    }
  },
  async large(field) {
    const client = await field.lasting();
    const payload = Buffer.alloc(7_000_000);
    for (let round = 0; round < 3; round++) {
      client.write(publish(field, { payload, qos: field.below(2), retain: field.below(2) === 0 }));
      await client.ping();
    }
  },
  async garbage(field) {
    for (let round = 0; round < 50; round++) {
      const client = field.below(2) === 0 ? await field.dial() : await field.lasting();
      const bytes = Buffer.from(counting(field.below(2000)).map(() => field.below(256)));
      // A packet that is one, but for a few bytes.
      const bent = publish(field);
      for (let count = field.below(4); count > 0; count--) bent[field.below(bent.length)] = field.below(256);
      client.write(field.pick([bytes, bent]));
      client.write(Buffer.from([0xf0, 0]));
    }
  },
};
