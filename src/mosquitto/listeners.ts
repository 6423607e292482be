/**
 * The listeners of a `mosquitto.conf`, brought to the ports that one broker has: one each for TCP, TLS, WebSocket, and
 * WebSocket over TLS, and a Unix socket. Where two listeners want different things the stricter one counts, and where
 * one cannot be had as it is it is left out: nobody is let in who was kept out.
 */
import type { Options } from "./counterparts.ts";
import type { Directive } from "./directives.ts";

/** Tells that a setting has no counterpart, and what to do about it. */
export type Note = (directive: Directive, words: string) => void;

/** A listener, with what is set for it. */
export interface ForeignListener {
  readonly opened: Directive;
  readonly settings: readonly Directive[];
}

/** Settings of a listener that change what clients get or may do, and cannot be had. */
const lacking: Readonly<Record<string, string>> = {
  psk_file: "there are no pre-shared keys; give the broker a certificate, and its clients passwords",
  psk_hint: "there are no pre-shared keys; give the broker a certificate, and its clients passwords",
  mount_point: "there are no mount points: its clients' topics would need the prefix, and rules in --acl-file",
  use_username_as_clientid:
    "client ids are the clients' own; --client-id-prefix '%u-' has them begin with the user name",
  max_qos: "QoS 2 is always granted",
  maximum_qos: "QoS 2 is always granted",
  use_subject_as_username: "of a certificate the name is taken: --tls-identity cn, san, san-email, san-uri or san-ip",
  accept_protocol_versions: "MQTT 3.1, 3.1.1 and 5 are spoken at every port",
  capath: "authorities are read from one file: cat DIR/*.crt > ca.pem, and --tls-ca ca.pem",
  bind_interface: "a port is opened at an address: --host",
  socket_domain: "a port is opened at an address: --host",
  http_dir: "files are not served",
  websockets_origin: "origins are not looked at; logins are",
  disable_client_cert_date_checks: "certificates that have ended are refused",
  tls_engine: "keys are read from files in PEM",
  tls_engine_kpass_sha1: "keys are read from files in PEM",
  tls_keyform: "keys are read from files in PEM",
  ciphers: "ciphers are those of TLS 1.2 and 1.3 that are thought safe; --tls-version-min 1.3 leaves TLS 1.3 alone",
  "ciphers_tls1.3": "ciphers are those of TLS 1.2 and 1.3 that are thought safe",
  max_topic_alias: "up to 64 topic aliases are used",
  max_topic_alias_broker: "up to 64 topic aliases are used",
};

/** Settings of a listener that are so anyway, or are read below. */
const read = new Set([
  ...["port", "bind_address", "protocol", "certfile", "keyfile", "cafile", "crlfile", "require_certificate"],
  ...["use_identity_as_username", "tls_version", "max_connections", "enable_proxy_protocol", "dhparamfile"],
  ...["websockets_log_level", "websockets_headers_size", "proxy_protocol_v2_require_tls"],
]);

/** Returns true for the name of a setting that belongs to a listener. */
export function isOfListener(name: string): boolean {
  return read.has(name) || Object.hasOwn(lacking, name);
}

const last = ({ settings }: ForeignListener, name: string): Directive | undefined =>
  settings.findLast((directive) => directive.name === name);

/** Returns true where a switch of a listener is on. */
export function isOn(listener: ForeignListener, name: string): boolean {
  return last(listener, name)?.value.toLowerCase() === "true";
}

/** The ports of one broker, and a word for each. */
const kinds = { port: "TCP", "tls-port": "TLS", "ws-port": "WebSocket", "wss-port": "WebSocket over TLS" } as const;
type Kind = keyof typeof kinds;

const elsewhere =
  "one broker has one of each: start another broker beside this one, or have a balancer forward the port";

/**
 * Sets the options for ports, addresses and certificates. `resolvePath` makes a path one that holds in any folder.
 */
export function translateListeners(
  listeners: readonly ForeignListener[],
  { options, note, resolvePath }: { options: Options; note: Note; resolvePath: (path: string) => string },
): void {
  const open: ForeignListener[] = [];
  for (const listener of listeners) if (openOne(listener, { options, note, resolvePath })) open.push(listener);
  if (!options.has("port")) options.set("port", "none");
  translateAddresses(open, options, note);
  translateTls(
    open.filter((listener) => last(listener, "certfile") !== undefined),
    { options, note, resolvePath },
  );
  let most = 0;
  for (const listener of open) {
    const connections = last(listener, "max_connections");
    if (connections === undefined || !/^\d+$/.test(connections.value)) continue;
    most += Number(connections.value);
    if (open.length > 1) note(connections, "--max-connections counts those of all ports together: it is their sum");
  }
  if (most > 0 && !options.has("max-connections")) options.set("max-connections", String(most));
  if (open.some((listener) => isOn(listener, "enable_proxy_protocol"))) {
    options.set("proxy-protocol", "true");
    for (const listener of open)
      note(listener.opened, "PROXY headers are believed from --proxy-from alone, and due at all ports without TLS");
  }
}

/** Sets the option for one listener's port; returns false if it is left out. */
function openOne(
  listener: ForeignListener,
  { options, note, resolvePath }: { options: Options; note: Note; resolvePath: (path: string) => string },
): boolean {
  const { opened } = listener;
  const without = (words: string): false => {
    note(opened, `this listener is left out: ${words}`);
    return false;
  };
  for (const directive of listener.settings) {
    const words = lacking[directive.name];
    if (words !== undefined && directive.value !== "false") note(directive, words);
  }
  if (last(listener, "psk_hint") !== undefined || last(listener, "psk_file") !== undefined)
    return without("there are no pre-shared keys");
  const protocol = last(listener, "protocol")?.value ?? "mqtt";
  if (protocol !== "mqtt" && protocol !== "websockets")
    return without(
      protocol === "http_api" ? "--http-port opens the API and the dashboard" : `it speaks ${protocol}, not MQTT`,
    );
  const [port = "", address = ""] = opened.value.split(/\s+/);
  if (port === "0" && address.startsWith("/")) {
    if (options.has("socket")) return without(elsewhere);
    options.set("socket", resolvePath(address));
    return true;
  }
  if (!/^\d{1,5}$/.test(port)) return without("its port is no number");
  const isSecure = last(listener, "certfile") !== undefined;
  const kind: Kind = protocol === "mqtt" ? (isSecure ? "tls-port" : "port") : isSecure ? "wss-port" : "ws-port";
  const before = options.get(kind);
  if (before === port) return true;
  if (before !== undefined) return without(`port ${before} is the one for ${kinds[kind]}; ${elsewhere}`);
  options.set(kind, port);
  return true;
}

const addressOf = ({ opened, settings }: ForeignListener): string =>
  opened.value.split(/\s+/)[1] ?? settings.findLast(({ name }) => name === "bind_address")?.value ?? "";

/** Sets the address: that of all listeners, or the one that serves this machine alone if they differ. */
function translateAddresses(open: readonly ForeignListener[], options: Options, note: Note): void {
  const withPorts = open.filter((listener) => !addressOf(listener).startsWith("/"));
  const addresses = new Set(withPorts.map(addressOf));
  if (addresses.size === 0) return;
  if (addresses.size === 1) {
    options.set("host", [...addresses][0] === "" ? "0.0.0.0" : [...addresses][0]!);
    return;
  }
  // Opening a port to more machines than before is the operator's to say.
  const host =
    [...addresses].find((address) => /^(127\.|::1$|localhost$)/.test(address)) ?? [...addresses].find(Boolean)!;
  options.set("host", host);
  for (const listener of withPorts)
    if (addressOf(listener) !== host)
      note(listener.opened, `all ports are opened at one address, ${host}; --host 0.0.0.0 opens them everywhere`);
}

/** Sets what is shown and asked at ports with TLS: the strictest of what their listeners want. */
function translateTls(
  secure: readonly ForeignListener[],
  { options, note, resolvePath }: { options: Options; note: Note; resolvePath: (path: string) => string },
): void {
  const [first, ...others] = secure;
  if (first === undefined) return;
  const names = { certfile: "tls-cert", keyfile: "tls-key", cafile: "tls-ca", crlfile: "tls-crl" } as const;
  const requires = secure.some((listener) => isOn(listener, "require_certificate"));
  for (const [name, option] of Object.entries(names)) {
    const given = secure.map((listener) => last(listener, name)).filter((directive) => directive !== undefined);
    // Who signs clients' certificates matters where those are asked for alone.
    if (given.length === 0 || (!requires && (name === "cafile" || name === "crlfile"))) continue;
    options.set(option, resolvePath(given[0]!.value));
    for (const other of given.slice(1))
      if (other.value !== given[0]!.value) note(other, `all ports with TLS have one: ${given[0]!.value}`);
  }
  const strict = secure.filter((listener) => isOn(listener, "require_certificate"));
  if (requires) {
    options.set("tls-client-cert", "require");
    options.set("tls-identity", strict.every((listener) => isOn(listener, "use_identity_as_username")) ? "cn" : "none");
    if (strict.length < secure.length)
      for (const { opened } of [first, ...others])
        note(opened, "certificates are required at all ports with TLS, since one of them requires them");
  }
  const oldest = secure.map((listener) => last(listener, "tls_version")).find((version) => version !== undefined);
  if (oldest === undefined) return;
  if (oldest.value === "tlsv1.3" || oldest.value === "tlsv1.2")
    options.set("tls-version-min", oldest.value.slice("tlsv".length));
  else note(oldest, "TLS 1.2 and 1.3 are spoken, nothing older");
}
