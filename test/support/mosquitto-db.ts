/** Writes `mosquitto.db` byte by byte, in the formats of mosquitto 1.6 and 2.x, whole and wrong ones. */

/** A chunk: its kind, numbers as `[bytes, value, order]`, and what follows them. */
type Field = readonly [bytes: 1 | 2 | 4 | 8, value: number, order?: "machine"] | Uint8Array | string;

function chunk(kind: number, ...fields: readonly Field[]): Buffer {
  const body = Buffer.concat(
    fields.map((field) => {
      if (typeof field === "string") return Buffer.from(field);
      if (field instanceof Uint8Array) return Buffer.from(field);
      const [bytes, value, order] = field;
      const number = Buffer.alloc(bytes);
      if (bytes === 8)
        order === "machine" ? number.writeBigInt64LE(BigInt(value)) : number.writeBigInt64BE(BigInt(value));
      else number.writeUIntBE(value, 0, bytes);
      return number;
    }),
  );
  const head = Buffer.alloc(8);
  head.writeUInt32BE(kind, 0);
  head.writeUInt32BE(body.length, 4);
  return Buffer.concat([head, body]);
}

/** The chunks of a format. */
export function chunksOf(format: 5 | 6) {
  return {
    file(...chunks: readonly Uint8Array[]): Buffer {
      const version = Buffer.alloc(8);
      version.writeUInt32BE(format, 4);
      return Buffer.concat([Buffer.from("\x00\xb5\x00mosquitto db", "latin1"), version, ...chunks]);
    },
    settings: (idBytes = 8): Buffer => chunk(1, [8, 99, "machine"], [1, 1], [1, idBytes], Buffer.alloc(6)),
    message(id: number, topic: string, payload: string, more: MessageMore = {}): Buffer {
      const { qos = 1, retain = 0, user = "", expiresAt = 0, properties = new Uint8Array(0), source = "src" } = more;
      const lengths: Field[] = [
        [4, Buffer.byteLength(payload)],
        [2, 1],
        [2, source.length],
        [2, user.length],
        [2, Buffer.byteLength(topic)],
        [2, 1883],
        [1, qos],
        [1, retain],
      ];
      const texts = [source, user, topic, payload, properties];
      return chunk(2, [8, id, "machine"], [8, expiresAt, "machine"], ...lengths, ...texts);
    },
    delivery(clientId: string, message: number, more: DeliveryMore = {}): Buffer {
      const { packetId = 0, qos = 1, state = 11, direction = 1, properties = new Uint8Array(0) } = more;
      const numbers: Field[] = [
        [2, packetId],
        [2, clientId.length],
        [1, qos],
        [1, state],
        [1, 0],
        [1, direction],
      ];
      return chunk(3, [8, message, "machine"], ...numbers, clientId, properties);
    },
    retained: (message: number): Buffer => chunk(4, [8, message, "machine"]),
    subscription: (clientId: string, filter: string, qos = 1, options = 0, id = 0): Buffer =>
      chunk(5, [4, id], [2, clientId.length], [2, filter.length], [1, qos], [1, options], [2, 0], clientId, filter),
    client(id: string, expiryInterval = 0xffff_ffff, more: { user?: string; expiresAt?: number } = {}): Buffer {
      const { user = "", expiresAt = 0 } = more;
      const common: Field[] = [
        [8, expiresAt, "machine"],
        [4, expiryInterval],
        [2, 7],
        [2, id.length],
      ];
      if (format === 5) return chunk(6, ...common, id);
      return chunk(6, ...common, [2, 1883], [2, user.length], [4, 0], id, user);
    },
    strange: (kind = 77): Buffer => chunk(kind, "whatever"),
  };
}

interface MessageMore {
  readonly qos?: number;
  readonly retain?: number;
  readonly user?: string;
  /** In seconds since 1970. */
  readonly expiresAt?: number;
  readonly properties?: Uint8Array;
  readonly source?: string;
}

interface DeliveryMore {
  readonly packetId?: number;
  readonly qos?: number;
  readonly state?: number;
  /** 0: from the client. */
  readonly direction?: number;
  readonly properties?: Uint8Array;
}
