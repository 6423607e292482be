/**
 * The command lines of emqtt_bench, as `bench conn`, `pub` and `sub` take them: what is called otherwise here is
 * translated, what nobody needs here is dropped, and what cannot be done is refused in words.
 */
import { usage } from "../flags/parsers.ts";

/** The fate of a flag that is not taken as it is. */
type Fate =
  | { readonly as: string }
  /** There is nothing to be done; `unless` is a value for which that is not so, and why. */
  | { readonly done: string; readonly unless?: RegExp; readonly why?: string }
  | { readonly refused: string };

const quic = "QUIC is not spoken here: leave it away, or use --ws";

/** Flags with a value. */
const valued: Readonly<Record<string, Fate>> = {
  "--interval_of_msg": { as: "--interval-of-msg" },
  "--ifaddr": { as: "--ifaddr" },
  "--num-retry-connect": { as: "--num-retry-connect" },
  "--reconnect": {
    done: "connections that are lost are counted",
    unless: /^[1-9]/,
    why: "a lost connection is counted as a failure, and not made again: give 0, or use mqttzoo simulate",
  },
  "--version": { as: "--protocol-version" },
  "--password": { as: "--pw" },
  "--cacertfile": { as: "--cafile" },
  "--certfile": { as: "--cert" },
  "--keyfile": { as: "--key" },
  "--ssl-version": { as: "--tls-version" },
  "--signature-algs": { refused: "they are chosen by the TLS library: leave it away" },
  "--keyex-algs": { refused: "they are chosen by the TLS library: leave it away" },
  "--quic": { done: "TCP it is", unless: /^(?!false$)/, why: quic },
  "--load-qst": { refused: quic },
  "--force-major-gc-interval": { done: "memory is collected as needed" },
  "--qoe": { done: "latencies are always measured" },
  "-Q": { done: "latencies are always measured" },
  "--qoelog": { refused: "latencies are measured without it; --html and --json write what came of them" },
  "--restapi": { refused: "there is no server in it: --json prints the figures, --html draws them" },
  "--log_to": { done: "messages go to standard error" },
  "--payload-hdrs": { done: "payloads have a number and a time already" },
  "--topics-payload": { refused: "several topics with payloads of their own are what mqttzoo simulate is for" },
  "--min-random-wait": { done: "messages of many clients are spread evenly" },
  "--max-random-wait": { done: "messages of many clients are spread evenly" },
  "--retry-interval": { done: "TCP loses nothing, and MQTT 5 forbids it" },
};

/** Flags that are on, or off behind `false`; the first word is what they are here, or nothing. */
const booleans: Readonly<Record<string, { readonly on?: string; readonly off?: string; readonly refused?: string }>> = {
  "--ssl": { on: "--ssl" },
  "-S": { on: "--ssl" },
  "--ws": { on: "--ws" },
  "--retain": { on: "--retain" },
  "-r": { on: "--retain" },
  "--shortids": { on: "--shortids" },
  "--clean": { off: "--no-clean" },
  "-C": { off: "--no-clean" },
  "--dist": {},
  "--lowmem": {},
  "-l": {},
  "--wait-before-publishing": {},
  "-w": {},
  "--keep-connected": {},
  "--prometheus": { refused: "there is no server in it: --json prints the figures, --html draws them" },
};

/** Values of flags that emqtt_bench writes in another way. */
const rewritten: Readonly<Record<string, (value: string) => string>> = {
  "--ssl-version": (value) => value.replace(/_nocompat$/, ""),
  "--ciphers": (value) => value.replaceAll(",", ":"),
  // 0: as many as there may be.
  "--inflight": (value) => (value === "0" ? "65535" : value),
  "-F": (value) => (value === "0" ? "65535" : value),
};

/** Flags for which 0 is the same as not to give them. */
const zeroIsNone = new Set(["--limit", "-L", "--connrate", "-R", "--num-retry-connect"]);

/** Returns the words behind `bench conn`, `pub` or `sub` as they are called here. Throws `OperatingError` (EUSAGE). */
export function fromEmqttBench(words: readonly string[]): string[] {
  const found: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    const [, flag = word, joined] = /^(--[^=]+)=(.*)$/s.exec(word) ?? [];
    const next = joined ?? words[at + 1];
    if (Object.hasOwn(booleans, flag)) {
      const { on, off, refused } = booleans[flag]!;
      const isSaid = next === "true" || next === "false";
      if (isSaid && joined === undefined) at++;
      const given = next === "false" ? off : refused === undefined ? on : usage(`${flag}: ${refused}`);
      if (given !== undefined) found.push(given);
      continue;
    }
    // Alone it is emqtt_bench's -d, which opens a port for other Erlang nodes.
    if (flag === "-d" && (next === undefined || next.startsWith("-"))) continue;
    const isValued = Object.hasOwn(valued, flag) || Object.hasOwn(rewritten, flag) || zeroIsNone.has(flag);
    if (!isValued || next === undefined) {
      found.push(word);
      continue;
    }
    if (joined === undefined) at++;
    found.push(...translated(flag, next));
  }
  return found;
}

function translated(flag: string, value: string): string[] {
  if (zeroIsNone.has(flag) && value === "0") return [];
  const written = Object.hasOwn(rewritten, flag) ? rewritten[flag]!(value) : value;
  const fate = Object.hasOwn(valued, flag) ? valued[flag]! : { as: flag };
  if ("refused" in fate) return usage(`${flag}: ${fate.refused}`);
  if ("as" in fate) return flag === "--ssl-version" ? ["--ssl", fate.as, written] : [fate.as, written];
  return fate.unless?.test(value) === true ? usage(`${flag} ${value}: ${fate.why}`) : [];
}
