/** The broker's options for MQTT-SN, over UDP. */
import type { OptionSpec } from "./option-spec.ts";
import { integer, parseFlag, parseGroup, parsePort, parseText } from "./parsers.ts";

export const snSpecs: readonly OptionSpec[] = [
  {
    key: "snPort",
    value: "PORT",
    help: "UDP port for MQTT-SN 1.2, usually 1883; 0 chooses a free one",
    parse: parsePort,
    shown: "none",
  },
  {
    key: "snTopics",
    value: "FILE",
    help: "predefined topic ids, a line each: CLIENT,TOPIC,ID; * stands for all clients",
    parse: parseText,
    shown: "none",
  },
  {
    key: "snUser",
    value: "USER",
    help: "the user as whom clients of MQTT-SN come: they cannot log in",
    parse: parseText,
    shown: "nobody: needs --allow-anonymous where others log in",
  },
  {
    key: "snPublishAnonymous",
    value: "USER",
    help: "let clients publish that have not connected (QoS -1), as this user",
    parse: parseText,
    shown: "nobody may",
  },
  {
    key: "snMulticast",
    value: "ADDRESS:PORT",
    help: "multicast group in which clients look for the broker, say 225.1.1.1:1883",
    parse: parseGroup,
    shown: "none",
  },
  { key: "snGatewayId", value: "NUMBER", help: "this broker among the gateways of a network", parse: integer(0, 255) },
  {
    key: "snFixedAddresses",
    help: "serve a client without a key at no other IP address than that from which it has connected",
    parse: parseFlag,
  },
  {
    key: "snMtu",
    value: "BYTES",
    help: "largest datagram that is sent to a client; larger messages are refused, and named in the log",
    parse: integer(32, 65_507),
  },
  {
    key: "snRetry",
    value: "MS",
    help: "pause before a message to a client is sent again, half as much longer each time, four times",
    parse: integer(50, 600_000),
  },
  { key: "sn2", help: "speak MQTT-SN 2.0 at that port as well, as its draft of August 2026 has it", parse: parseFlag },
  {
    key: "snKeys",
    value: "FILE",
    help: "keys of devices that protect what they send (MQTT-SN 2.0), a line each: SENDER,KEY or SENDER,KEY,USER",
    parse: parseText,
    shown: "none",
  },
];
