/** Topics for completion: those with a retained message at the broker that the unfinished line names. */
import { Command, CommanderError } from "commander";
import { ignoreTheWorld } from "../../src/base/errors.ts";
import type { MqttConnection } from "../../src/client/connection.ts";
import { addConnectionOptions, type ConnectionFlags, readConnection } from "../flags/client-flags.ts";
import { applyProfile } from "../flags/profiles.ts";
import { connectAny } from "../pubsub/reconnect.ts";

/** The time for which somebody is let wait behind Tab at most, and after which no more is awaited, in ms. */
const waitMs = 2_000;
const quietMs = 150;
const topicsMax = 5_000;

/**
 * Returns topics that begin with what is typed, each up to its next slash. `words`: the line so far, with the flags
 * that say where the broker is. A broker that cannot be asked has none.
 */
export async function topicsBeginning(typed: string, words: readonly string[]): Promise<string[]> {
  const flags = readFlags(words);
  if (flags === undefined) return [];
  const found = new Set<string>();
  let connection: MqttConnection | undefined;
  try {
    const onMessage = ({ topic }: { readonly topic: string }): void =>
      void (found.size < topicsMax && found.add(topic));
    connection = await connectAny(readConnection(flags), { onMessage, connectTimeout: waitMs / 1000 });
    const level = typed.slice(0, typed.lastIndexOf("/") + 1);
    await Promise.race([listen(connection, `${level}#`, () => found.size), Bun.sleep(waitMs)]);
  } catch (error) {
    ignoreTheWorld(error);
  } finally {
    connection?.disconnect();
  }
  return nextLevels(typed, found);
}

/** Subscribes, and waits until nothing more comes. */
async function listen(connection: MqttConnection, filter: string, count: () => number): Promise<void> {
  await connection.subscribe([filter]);
  for (let before = -1; count() > before; ) {
    before = count();
    await Bun.sleep(quietMs);
  }
}

/** Returns the topics that begin with what is typed, cut behind the next slash. */
export function nextLevels(typed: string, topics: Iterable<string>): string[] {
  const next = new Set<string>();
  for (const topic of topics) {
    if (!topic.startsWith(typed)) continue;
    const slash = topic.indexOf("/", typed.length);
    next.add(slash === -1 ? topic : topic.slice(0, slash + 1));
  }
  return [...next].sort();
}

/** Reads the flags that say where the broker is; undefined if they cannot be meant so. */
function readFlags(words: readonly string[]): ConnectionFlags | undefined {
  const command = addConnectionOptions(new Command()).allowUnknownOption().allowExcessArguments().exitOverride();
  command.configureOutput({ writeErr: () => {}, writeOut: () => {} });
  try {
    command.parse([...words], { from: "user" });
    applyProfile(command, () => addConnectionOptions(new Command()));
  } catch (error) {
    if (!(error instanceof CommanderError)) ignoreTheWorld(error);
    return undefined;
  }
  return { ...command.opts<ConnectionFlags>(), quiet: true };
}
