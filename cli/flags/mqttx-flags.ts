/**
 * The command lines of MQTTX's client, as `pub`, `sub` and `bench` take them: what is called otherwise here is
 * translated. Where a letter means something else to mosquitto's clients, it does so here, unless what stands behind it
 * tells.
 */
import type { Command } from "commander";
import { optionNamed } from "../output/one-line.ts";
import { usage } from "./parsers.ts";

/** Flags with a value, by their words here. */
const renamed: Readonly<Record<string, string>> = {
  "--hostname": "--host",
  "--client-id": "--id",
  "--password": "--pw",
  "--ca": "--cafile",
  "--path": "--ws-path",
  "-wh": "--ws-header",
  "--ws-headers": "--ws-header",
  "--will-message": "--will-payload",
  "--file-read": "--file",
  "-se": "--session-expiry-interval",
  "-im": "--interval-of-msg",
  "--message-interval": "--interval-of-msg",
};
/** Flags without a value, by their words here. */
const switches: Readonly<Record<string, string>> = {
  "--no-clean": "--disable-clean-session",
  "--stdin": "--stdin-file",
  "-rap": "--retain-as-published",
};
/** Flags with a value that are properties of the packet that the command is about. */
const properties: Readonly<Record<string, string>> = {
  "-e": "message-expiry-interval",
  "--message-expiry-interval": "message-expiry-interval",
  "-ct": "content-type",
  "--content-type": "content-type",
  "-rt": "response-topic",
  "--response-topic": "response-topic",
  "-cd": "correlation-data",
  "--correlation-data": "correlation-data",
  "-si": "subscription-identifier",
  "--subscription-identifier": "subscription-identifier",
};
const versions: Readonly<Record<string, string>> = { "5.0": "5", "3.1.1": "311", "3.1": "31" };
/** Flags that say that there is TLS, and whom to trust. */
const trust = /^--(ca|cafile|capath|insecure|tls-use-os-certs)(=|$)/;

/** Returns the words as `command` takes them. Throws `OperatingError` (EUSAGE). */
export function fromMqttx(command: Command, words: readonly string[]): string[] {
  const packet = command.name() === "sub" ? "subscribe" : "publish";
  const isByLine = words.some((word) => /^(--multiline|-lm)$/.test(word));
  const taken: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    const next = words[at + 1];
    const known = optionNamed(command, word);
    const value = (): string => {
      return words[++at] ?? usage(`${word} needs a value`);
    };
    if (/^-(l|-protocol)$/.test(word) && /^(mqtt|ws)s?$/.test(next ?? ""))
      taken.push(
        ...transportOf(
          value(),
          words.some((one) => trust.test(one)),
        ),
      );
    else if (/^-(V|-mqtt-version)$/.test(word) && next !== undefined)
      taken.push("--protocol-version", versions[value()] ?? next);
    else if (/^-(r|-retain)$/.test(word) && /^(true|false)$/.test(next ?? "")) {
      if (value() === "true") taken.push(word);
    } else if (/^-(up|-user-properties)$/.test(word)) {
      do {
        const [name, ...rest] = value().split(":");
        taken.push("-D", packet, "user-property", name!.trim(), rest.join(":").trim());
      } while (/^[^-].*:/.test(words[at + 1] ?? ""));
    } else if (/^(--multiline|-lm)$/.test(word)) taken.push("--stdin-line");
    else if (isByLine && /^(-s|--stdin)$/.test(word)) continue;
    // What the command itself knows means what it means there.
    else if (known !== undefined) taken.push(word, ...(known.required && next !== undefined ? [value()] : []));
    else if (switches[word] !== undefined) taken.push(switches[word]);
    else if (renamed[word] !== undefined) taken.push(renamed[word], value());
    else if (properties[word] !== undefined) taken.push("-D", packet, properties[word], value());
    else taken.push(word);
  }
  return taken;
}

function transportOf(protocol: string, isTrusting: boolean): string[] {
  const tls = protocol.endsWith("s") && protocol !== "ws" && !isTrusting ? ["--tls-use-os-certs"] : [];
  return protocol.startsWith("ws") ? ["--ws", ...tls] : tls;
}
