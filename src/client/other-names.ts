/**
 * Options as MQTT.js calls them: whoever comes from there is told their names here, instead of having them passed over
 * in silence.
 */

const inUrl = "it stands in the URL: mqtt://host:port";
const ofTls = (name: string): string => `here it is called tls.${name}`;

const ofClient: Readonly<Record<string, string>> = {
  keepalive: "here it is called keepAliveMs",
  reconnectPeriod: "here it is called reconnect: { minMs, maxMs }",
  protocolVersion: "here it is called version",
  protocolId: "here the option version says it",
  properties:
    "here each has a name of its own: sessionExpiryMs, receiveMaximum, packetBytesMax (maximumPacketSize), userProperties",
  queueQoSZero: "here they always wait: offline.messagesMax says how many",
  resubscribe: "here it is always done",
  wsOptions: "here it is called webSocket: { headers }",
  transformWsUrl: "here the path stands in the URL, and webSocket.headers may be a function",
  incomingStore: "here it is called store, for both directions",
  outgoingStore: "here it is called store, for both directions",
  rejectUnauthorized: "here it is called tls.isInsecure: true",
  ca: ofTls("ca"),
  cert: ofTls("cert"),
  key: ofTls("key"),
  passphrase: ofTls("passphrase"),
  servername: ofTls("serverName"),
  host: inUrl,
  hostname: inUrl,
  port: inUrl,
  path: inUrl,
  protocol: inUrl,
  servers: "a list of URLs is given instead of the URL",
  log: "here it is called onLog",
  reconnectOnConnackError: 'here it is called retry: "for ever"',
};

const ofPublish: Readonly<Record<string, string>> = {
  properties:
    "here each has a name of its own: expiryMs (messageExpiryInterval), contentType, responseTopic, userProperties",
  messageExpiryInterval: "here it is called expiryMs",
  payloadFormatIndicator: "here it is called isText",
  dup: "here the client sets it itself",
};

const ofSubscription: Readonly<Record<string, string>> = {
  nl: "here it is called noLocal",
  rh: 'here it is called retained: "send", "new" or "never"',
  rap: "here message.retain tells stored messages from new ones",
  properties: "here the client chooses the identifiers itself",
};

const lists = { client: ofClient, publish: ofPublish, subscription: ofSubscription } as const;

/** Throws a `TypeError` for the first option that has another name here. */
export function checkNames(options: object, of: keyof typeof lists): void {
  for (const name of Object.keys(options)) {
    const help = Object.hasOwn(lists[of], name) ? lists[of][name] : undefined;
    if (help !== undefined) throw new TypeError(`there is no option ${name}: ${help}`);
  }
}
