/**
 * The settings of mosquitto's that hold for a whole broker, and what takes their place here: an option, nothing since
 * it is so anyway, or advice.
 */

/** The options that are found for a broker of ours, by their long names. */
export type Options = Map<string, string>;

/** Sets options for a value; returns advice where that is not all. */
export type Translate = (value: string, options: Options) => string | undefined;

/** The successor of a setting: options, nothing ("same"), or advice. */
export type Counterpart = Translate | "same" | { readonly advice: string };

const advice = (words: string): Counterpart => ({ advice: words });

/** An option that takes the value as it is. */
const asIs =
  (name: string): Translate =>
  (value, options) =>
    void options.set(name, value);

/** An option that takes a number; `unlimited` is what it is given for the number that means no limit at mosquitto. */
const numberOf =
  (name: string, none: string, unlimited: string | undefined): Translate =>
  (value, options) => {
    if (value !== none) options.set(name, value);
    else if (unlimited === undefined) return `without a limit there; here --${name} has one, see its default`;
    else options.set(name, unlimited);
    return undefined;
  };

/** A switch, for which something is to be said where it is on, or off. */
const when =
  (state: "true" | "false", words: string): Translate =>
  (value) =>
    value.toLowerCase() === state ? words : undefined;

const secondsPer: Readonly<Record<string, number>> = {
  h: 3600,
  d: 86_400,
  w: 7 * 86_400,
  m: 30 * 86_400,
  y: 365 * 86_400,
};

function sessionExpiry(value: string, options: Options): string | undefined {
  const [, count, unit = ""] = /^(\d{1,6})\s*([hdwmy])$/.exec(value) ?? [];
  if (count === undefined) return "it is no number with h, d, w, m or y; say --session-expiry-max in seconds";
  options.set("session-expiry-max", String(Math.min(Number(count) * secondsPer[unit]!, 4_294_967_295)));
  return undefined;
}

/** From quiet to loud; several `log_type` together log as the loudest of them. */
const levels = ["silent", "error", "warn", "info", "debug"];
const levelOf: Readonly<Record<string, string>> = {
  none: "silent",
  error: "error",
  warning: "warn",
  notice: "info",
  information: "info",
  all: "debug",
  debug: "debug",
};

function logType(value: string, options: Options): string | undefined {
  const level = levelOf[value];
  if (level === undefined) return `there are no lines of this kind; --log-level debug, or mqttzoo trace, tells them`;
  const before = options.get("log-level") ?? "silent";
  options.set("log-level", levels.indexOf(level) > levels.indexOf(before) ? level : before);
  return undefined;
}

function logDestination(value: string): string | undefined {
  if (value === "stderr" || value === "none") return undefined;
  if (value.startsWith("file")) return "the log goes to standard error: have it redirected, or kept by systemd";
  return "the log goes to standard error, where systemd takes it up; --otlp sends it to a collector";
}

const plugins = "no plugins are loaded: users are in --password-file, tokens in --jwt-key, others asked by --auth-hook";
const waits = "what waits is bounded by --max-queued, and paid for from the bank";
const service = "that is the service's business: see systemd's unit";

/** By their names. Those of listeners and bridges are elsewhere. */
export const counterparts: Readonly<Record<string, Counterpart>> = {
  max_inflight_messages: numberOf("max-inflight", "0", "65535"),
  max_queued_messages: numberOf("max-queued", "0", "10000000"),
  max_packet_size: numberOf("max-packet-size", "0", undefined),
  message_size_limit: (value, options) => {
    if (value === "0") return undefined;
    options.set("max-packet-size", value);
    return "there it is the payload's size; --max-packet-size counts topic and properties too: add what they may need";
  },
  max_keepalive: numberOf("keepalive-max", "0", undefined),
  memory_limit: numberOf("max-memory", "0", "auto"),
  global_max_connections: numberOf("max-connections", "-1", undefined),
  global_max_clients: advice("sessions are bounded by what the bank pays for: --bank-capital"),
  persistent_client_expiration: sessionExpiry,
  clientid_prefixes: asIs("client-id-prefix"),
  allow_zero_length_clientid: when("false", "ids are made for clients that give none; nothing forbids that"),
  auto_id_prefix: advice("ids that are made up have no prefix"),
  log_type: logType,
  log_dest: logDestination,
  log_facility: advice("the log goes to standard error"),
  log_timestamp: when("false", "each line of the log has its time"),
  log_timestamp_format: advice("the log has times as ISO 8601, in UTC"),
  connection_messages: when("false", "connections are logged with --log-level debug alone"),
  persistence: when("false", "there is always a store, in --data; what is in it is bounded by the bank"),
  persistence_location: "same",
  persistence_file: "same",
  autosave_interval: "same",
  autosave_on_changes: "same",
  retained_persistence: "same",
  set_tcp_nodelay: "same",
  retry_interval: "same",
  store_clean_interval: "same",
  allow_duplicate_messages: advice("a client that matches by several subscriptions gets one copy of a message"),
  queue_qos0_messages: when("true", "QoS 0 is not kept for clients that are away; --mail-drop keeps it for topics"),
  upgrade_outgoing_qos: when("true", "a message is sent at the lower QoS of the two"),
  retain_available: when("false", "retained messages cannot be switched off; --max-retained bounds them"),
  retain_expiry_interval: advice("a retained message ends by its publisher's Message Expiry Interval alone"),
  check_retain_source: advice("mqttzoo retained clear --not-allowed removes what its user may not publish any more"),
  max_queued_bytes: advice(waits),
  max_inflight_bytes: advice(`${waits}; memory by --max-memory-per-client`),
  packet_buffer_size: "same",
  sys_interval: advice("$SYS is published at an interval of the broker's own; --http-port has /metrics"),
  user: advice(service),
  pid_file: advice(service),
  plugin: advice(plugins),
  global_plugin: advice(plugins),
  plugin_load: advice(plugins),
  plugin_use: advice(plugins),
  auth_plugin: advice(plugins),
  auth_plugin_deny_special_chars: "same",
  enable_control_api: advice("the broker is asked and changed over its HTTP API: --http-port"),
};
