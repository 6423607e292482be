/** One of several brokers: the first that takes us, and another one when it is gone. */
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { systemClock } from "../../src/base/clock.ts";
import { messageOf, OperatingError } from "../../src/base/errors.ts";
import type { Backoff } from "../../src/client/backoff.ts";
import type { MqttConnection } from "../../src/client/connection.ts";
import type { ConnectionOptions } from "../../src/client/connection-options.ts";
import { connect, type Place } from "../../src/client/dial.ts";
import { connectSn, type SnConnection } from "../../src/client/sn-connection.ts";
import type { Connection } from "../flags/client-flags.ts";

/** A broker that takes a connection and says nothing is given up for another one; in s. */
const patience = 5;

/** Rejects with `OperatingError` that says what the last of them said. */
export async function connectAny(connection: Connection, more: Partial<ConnectionOptions>): Promise<MqttConnection> {
  const { options } = connection;
  const places = await connection.places();
  let last: unknown;
  for (const place of places) {
    const all = { ...options, ...more, ...place, ...(places.length > 1 ? { connectTimeout: patience } : {}) };
    try {
      return await connectAsItCan(all);
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

/** Connects over MQTT-SN. Rejects with `OperatingError` that says what the last of the brokers said. */
export async function connectAnySn(
  { options, places: find }: Connection,
  more: Pick<ConnectionOptions, "onMessage" | "onClose">,
): Promise<SnConnection> {
  const { clientId = "", clean = true, keepAlive, will } = options;
  let last: unknown;
  for (const { host, port } of await find()) {
    try {
      return await connectSn({
        ...{ host, port, clientId, clean },
        ...(keepAlive === undefined ? {} : { keepAlive }),
        ...(will === undefined ? {} : { will: snWillOf(will) }),
        ...more,
      });
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

function snWillOf({ topic, payload, qos = 0, retain = false }: NonNullable<ConnectionOptions["will"]>) {
  return { topic, qos, retain, data: typeof payload === "string" ? encodeUtf8(payload) : payload };
}

/** Connects with MQTT 5, or with 3.1.1 where a broker knows nothing newer and nobody has said which. */
export async function connectAsItCan(options: ConnectionOptions & Place): Promise<MqttConnection> {
  try {
    return await connect(options);
  } catch (error) {
    if (options.version !== undefined || !(error instanceof OperatingError) || error.code !== "EVERSION") throw error;
    return connect({ ...options, version: 4 });
  }
}

export interface AgainOptions {
  /** Told for people of each attempt in vain. */
  readonly report: (why: string) => void;
  /** Full jitter, so that not all come at once. */
  readonly backoff: Backoff;
  /** Milliseconds after which it gives up; Infinity: never. */
  readonly retryForMs: number;
}

/** Connects after a connection is lost. Rejects with the last `OperatingError` when it gives up. */
export function connectAgain(
  connection: Connection,
  more: Partial<ConnectionOptions>,
  again: AgainOptions,
): Promise<MqttConnection> {
  return untilConnected(() => connectAny(connection, { ...more, connectTimeout: patience }), again);
}

/** Tries to connect, with pauses between. Rejects with the last `OperatingError` when it gives up. */
export async function untilConnected<Connected>(
  tryOnce: () => Promise<Connected>,
  { report, backoff, retryForMs }: AgainOptions,
): Promise<Connected> {
  const giveUpAt = systemClock.now() + retryForMs;
  for (;;) {
    await Bun.sleep(backoff.next());
    try {
      return await tryOnce();
    } catch (error) {
      if (!(error instanceof OperatingError) || systemClock.now() >= giveUpAt) throw error;
      report(messageOf(error));
    }
  }
}
