/** A `mosquitto.conf` is translated: the options that take its place, and the words where nothing does. */
import { describe, expect, test } from "bun:test";
import { OperatingError } from "../../src/base/errors.ts";
import { foreignConfigLinesMax, foreignConfigsMax } from "../../src/base/foreign-limits.ts";
import { readDirectives } from "../../src/mosquitto/directives.ts";
import { translate } from "../../src/mosquitto/translate.ts";

/** Translates a configuration, with the files that it may include. */
function of(conf: string, others: Readonly<Record<string, string>> = {}) {
  const files: Record<string, string> = { conf, ...others };
  const directives = readDirectives("conf", {
    readText: (path) => files[path]!,
    list: (folder) => Object.keys(files).filter((path) => path.startsWith(`${folder}/`)),
  });
  const { options, remarks, ...rest } = translate(directives, (path) => `/at/${path.replace(/^\//, "")}`);
  return {
    options: Object.fromEntries(options),
    remarks: remarks.map(({ place, setting }) => `${place} ${setting}`),
    words: remarks.map(({ words }) => words),
    ...rest,
  };
}

describe("who is let in", () => {
  test("nothing said: this machine alone, without a name", () => {
    expect(of("# nothing\n")).toMatchObject({
      options: { port: "1883", host: "127.0.0.1", "allow-anonymous": "true" },
      remarks: [],
      isClosed: false,
    });
  });

  test("a listener without anything else lets nobody in, as since mosquitto 2.0", () => {
    const { options, isClosed } = of("listener 1883\n");
    expect([options, isClosed]).toEqual([{ port: "1883", host: "0.0.0.0" }, true]);
    expect(of("listener 1883 127.0.0.1\n").isClosed).toBe(true);
    expect(of("port 1884\n")).toMatchObject({ options: { port: "1884", host: "0.0.0.0" }, isClosed: true });
  });

  test("passwords and rules", () => {
    const conf = "allow_anonymous false\npassword_file /p\nacl_file a\nlistener 1883\n";
    expect(of(conf)).toMatchObject({ passwordFile: "/at/p", aclFile: "/at/a", isClosed: false, remarks: [] });
    expect(of("listener 1\nallow_anonymous true\n").options["allow-anonymous"]).toBe("true");
  });

  test("with rules of their own nobody comes in by another listener's", () => {
    const conf =
      "per_listener_settings true\nlistener 1883 127.0.0.1\nallow_anonymous true\nlistener 8883\ncertfile c\nkeyfile k\n" +
      "password_file p\nacl_file a\n";
    const { options, passwordFile, remarks } = of(conf);
    expect(options).toMatchObject({ port: "1883", "tls-port": "8883", host: "127.0.0.1" });
    expect(options["allow-anonymous"]).toBeUndefined();
    expect([passwordFile, remarks.includes("conf:2 listener"), remarks.includes("conf:4 listener")]).toEqual([
      "/at/p",
      true,
      true,
    ]);
    // Without it the last one counts for all.
    expect(of(conf.replace("true", "false")).options["allow-anonymous"]).toBe("true");
  });

  test("a listener with pre-shared keys is not opened without them", () => {
    const { options, words } = of("listener 8883\npsk_hint x\nallow_anonymous true\n");
    expect([options.port, options["tls-port"]]).toEqual(["none", undefined]);
    expect(words.at(-1)).toContain("left out");
  });

  test("certificates are required everywhere once they are somewhere", () => {
    const tls = "certfile /c\nkeyfile /k\ncafile /ca\n";
    const conf = `listener 8883\n${tls}require_certificate true\nuse_identity_as_username true\nlistener 443\nprotocol websockets\n${tls}`;
    const { options, remarks } = of(conf);
    expect(options).toEqual({
      ...{ port: "none", "tls-port": "8883", "wss-port": "443", host: "0.0.0.0" },
      ...{ "tls-cert": "/at/c", "tls-key": "/at/k", "tls-ca": "/at/ca" },
      ...{ "tls-client-cert": "require", "tls-identity": "cn" },
    });
    expect(remarks).toEqual(["conf:1 listener", "conf:7 listener"]);
    expect(of(`listener 8883\n${tls}require_certificate true\n`).options["tls-identity"]).toBe("none");
    // Who signs certificates that nobody is asked for does not matter.
    expect(of(`listener 8883\n${tls}`).options).not.toHaveProperty("tls-ca");
  });
});

test("ports: one of each kind; another one is told, with what to do", () => {
  const { options, remarks, words } = of(
    "listener 1883\nlistener 9001\nprotocol websockets\nlistener 1884\nlistener 0 /run/m.sock\nlistener x\nallow_anonymous true\n",
  );
  expect(options).toMatchObject({ port: "1883", "ws-port": "9001", socket: "/at/run/m.sock" });
  expect(remarks).toEqual(["conf:4 listener", "conf:6 listener"]);
  expect(words[0]).toContain("start another broker beside this one");
});

test("limits, expiry and log", () => {
  const { options, remarks, database } = of(
    "max_inflight_messages 0\nmax_queued_messages 500\nmax_packet_size 1000\nmax_keepalive 600\npersistent_client_expiration 2w\n" +
      "log_type error\nlog_type notice\nlog_dest stderr\nmemory_limit 1000000\nmax_connections 7\npersistence true\n" +
      "persistence_location /var/lib/mosquitto/\nautosave_interval 10\nclientid_prefixes dev-\n",
  );
  expect(options).toMatchObject({
    ...{ "max-inflight": "65535", "max-queued": "500", "max-packet-size": "1000", "keepalive-max": "600" },
    ...{ "session-expiry-max": "1209600", "log-level": "info", "max-memory": "1000000", "max-connections": "7" },
    "client-id-prefix": "dev-",
  });
  expect([remarks, database]).toEqual([[], "/at/var/lib/mosquitto/mosquitto.db"]);
});

test("whatever has no counterpart is told with its place: plugins, bridges once each, what nobody knows", () => {
  const { remarks } = of(
    "plugin /x.so\nplugin_opt_secret y\nconnection out\naddress far:1883\nremote_password hidden\ntopic # both\nfrobnicate 1\n__proto__ 1\n" +
      "max_qos 1\nupgrade_outgoing_qos false\nupgrade_outgoing_qos true\n",
  );
  expect(remarks.toSorted()).toEqual([
    ...["conf:1 plugin", "conf:11 upgrade_outgoing_qos", "conf:3 connection", "conf:7 frobnicate"],
    ...["conf:8 __proto__", "conf:9 max_qos"],
  ]);
});

test("included files stand in place of the line; what is too much is refused", () => {
  const dir = { "d/1.conf": "port 1884\n", "d/2.conf": "max_keepalive 9\n", "d/notes": "nonsense\n" };
  expect(of("port 1\ninclude_dir d\n", dir)).toMatchObject({ options: { port: "1884", "keepalive-max": "9" } });
  expect(() => of("include_dir d\n", { "d/1.conf": "include_dir e\n" })).toThrow("d/1.conf:1: include_dir stands in");
  const many = Object.fromEntries(Array.from({ length: foreignConfigsMax + 1 }, (_, at) => [`d/${at}.conf`, ""]));
  expect(() => of("include_dir d\n", many)).toThrow(OperatingError);
  expect(() => of("port 1\n".repeat(foreignConfigLinesMax + 1))).toThrow("settings");
});
