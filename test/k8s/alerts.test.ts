/** The alerts, judged by `promtool`: each fires when it should, and is silent when nearly so. */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Manifest } from "./kustomize.ts";

const folder = join(import.meta.dir, "../../k8s/optional");
const { spec }: Manifest = Bun.YAML.parse(readFileSync(join(folder, "alerts.yaml"), "utf8"));
const rules: readonly Manifest[] = spec.groups.flatMap(({ rules }: Manifest) => rules);

/** Values of series, one a minute, in promtool's short form: `0x5` is 0 six times, `0+3x5` is 0, 3, 6 and so on. */
type Series = Readonly<Record<string, string>>;

/** Two cases of one alert: values that make it fire, and nearly the same values that do not. */
interface Case {
  readonly fires: Series;
  readonly silent: Series;
  /** When it is looked, in minutes. */
  readonly minute?: number;
}

/** A histogram of 100 observations a minute, of which so many are within `le`, and all within `most`. */
const histogram = (name: string, { le, within, most }: { le: string; within: number; most: string }): Series => ({
  [`${name},le="${le}"}`]: `0+${within}x60`,
  [`${name},le="${most}"}`]: "0+100x60",
  [`${name},le="+Inf"}`]: "0+100x60",
});
/** The labels that Prometheus puts on what a pod says. */
const pod = 'namespace="mqttzoo",pod="mqttzoo-0",job="mqttzoo/mqttzoo"';
const of = (name: string, more = ""): string => `${name}{${pod}${more}}`;
const slow = (name: string, more = ""): Pick<Case, "fires" | "silent"> => ({
  fires: histogram(`${name}_bucket{${pod}${more}`, { le: "1", within: 98, most: "2.5" }),
  silent: histogram(`${name}_bucket{${pod}${more}`, { le: "1", within: 99, most: "2.5" }),
});
const day = 86_400;

const cases: Record<string, Case> = {
  MqttzooBrokerDown: { fires: { [of("up")]: "0x20" }, silent: { [of("up")]: "0 1x20", 'up{job="zookeeper"}': "0x20" } },
  MqttzooStoreAway: {
    fires: { [of("mqttzoo_store_connected")]: "1 0x20" },
    silent: { [of("mqttzoo_store_connected")]: "0 1x20" },
  },
  MqttzooFenced: { fires: { [of("mqttzoo_store_fenced")]: "1x20" }, silent: { [of("mqttzoo_store_fenced")]: "0x20" } },
  MqttzooStoreDamaged: {
    fires: { [of("mqttzoo_store_damaged_records_total")]: "0 1x20" },
    silent: { [of("mqttzoo_store_damaged_records_total")]: "0x20" },
  },
  MqttzooCommitsSlow: slow("mqttzoo_store_commit_seconds"),
  MqttzooLinkDown: {
    fires: { [of("mqttzoo_link_up", ',peer="b"')]: "0x20" },
    silent: { [of("mqttzoo_link_up", ',peer="b"')]: "0 1x20" },
  },
  MqttzooClocksDiffer: {
    fires: {
      [of("mqttzoo_link_clock_ahead_seconds", ',peer="b"')]: "-1.2x20",
      [of("mqttzoo_link_clock_uncertainty_seconds", ',peer="b"')]: "0.1x20",
    },
    // A link that is slow tells little of the clock behind it.
    silent: {
      [of("mqttzoo_link_clock_ahead_seconds", ',peer="b"')]: "1.2x20",
      [of("mqttzoo_link_clock_uncertainty_seconds", ',peer="b"')]: "0.3x20",
    },
  },
  MqttzooVersionsDiffer: {
    fires: {
      [of("mqttzoo_build_info", ',version="1"')]: "1x80",
      'mqttzoo_build_info{namespace="mqttzoo",pod="mqttzoo-1",version="2"}': "1x80",
    },
    // Another cluster's version is its own affair, and an upgrade may take half an hour.
    silent: {
      [of("mqttzoo_build_info", ',version="1"')]: "1x30",
      'mqttzoo_build_info{namespace="mqttzoo",pod="mqttzoo-1",version="2"}': "1x80",
      'mqttzoo_build_info{namespace="other",pod="mqttzoo-0",version="1"}': "1x80",
    },
    minute: 70,
  },
  MqttzooBankNearlyEmpty: {
    fires: { [of("mqttzoo_bank_bound_credits")]: "81x20", [of("mqttzoo_bank_capital_credits")]: "100x20" },
    silent: { [of("mqttzoo_bank_bound_credits")]: "79x20", [of("mqttzoo_bank_capital_credits")]: "100x20" },
  },
  MqttzooPublishesRefused: {
    fires: { [of("mqttzoo_messages_refused_total", ',reason="bank"')]: "0+1x20" },
    silent: { [of("mqttzoo_messages_refused_total", ',reason="bank"')]: "3x20" },
  },
  MqttzooMessagesDropped: {
    fires: { [of("mqttzoo_messages_dropped_total", ',reason="output_full"')]: "0+90x30" },
    // What has expired was to be dropped.
    silent: {
      [of("mqttzoo_messages_dropped_total", ',reason="output_full"')]: "0+30x30",
      [of("mqttzoo_messages_dropped_total", ',reason="expired"')]: "0+600x30",
    },
    minute: 20,
  },
  MqttzooMailboxesNearlyFull: {
    fires: { [of("mqttzoo_mailboxes_nearly_full")]: "1x20" },
    silent: { [of("mqttzoo_mailboxes_nearly_full")]: "1 1 0x20" },
  },
  MqttzooSessionsEnded: {
    fires: { [of("mqttzoo_sessions_ended_total")]: "0 0 1x20" },
    silent: { [of("mqttzoo_sessions_ended_total")]: "4x20" },
  },
  MqttzooWillsRefused: {
    fires: { [of("mqttzoo_wills_refused_total")]: "0 0 1x20" },
    silent: { [of("mqttzoo_wills_refused_total")]: "4x20" },
  },
  MqttzooAcksSlow: { ...slow("mqttzoo_publish_ack_seconds", ',path="stored"'), minute: 20 },
  MqttzooEventLoopLate: {
    fires: histogram(`mqttzoo_event_loop_lag_seconds_bucket{${pod}`, { le: "0.25", within: 98, most: "0.5" }),
    silent: histogram(`mqttzoo_event_loop_lag_seconds_bucket{${pod}`, { le: "0.25", within: 99, most: "0.5" }),
    minute: 20,
  },
  MqttzooMemoryShort: {
    fires: {
      [of("mqttzoo_memory_refused")]: "0x20",
      [of("process_resident_memory_bytes")]: "91x20",
      [of("mqttzoo_memory_limit_bytes")]: "100x20",
    },
    // A limit of 0 is none.
    silent: {
      [of("mqttzoo_memory_refused")]: "0x20",
      [of("process_resident_memory_bytes")]: "91x20",
      [of("mqttzoo_memory_limit_bytes")]: "0x20",
    },
  },
  MqttzooFilesShort: {
    fires: { [of("process_open_fds")]: "91x20", [of("process_max_fds")]: "100x20" },
    silent: { [of("process_open_fds")]: "89x20", [of("process_max_fds")]: "100x20" },
  },
  MqttzooLoginsFailing: {
    fires: { [of("mqttzoo_logins_failed_total")]: "0+90x30" },
    silent: { [of("mqttzoo_logins_failed_total")]: "0+30x30" },
    minute: 20,
  },
  MqttzooConnectionsRefused: {
    fires: { [of("mqttzoo_connections_refused_total", ',limit="banned"')]: "0+90x30" },
    silent: {
      [of("mqttzoo_connections_refused_total", ',limit="banned"')]: "0+40x30",
      [of("mqttzoo_connections_refused_total", ',limit="memory"')]: "0+40x30",
    },
    minute: 20,
  },
  MqttzooCertificateEnds: {
    // The one for other brokers, while the clients' is good.
    fires: {
      [of("mqttzoo_tls_certificate_expiry_timestamp_seconds")]: `${90 * day}x20`,
      [of("mqttzoo_link_tls_certificate_expiry_timestamp_seconds")]: `${13 * day}x20`,
    },
    silent: {
      [of("mqttzoo_tls_certificate_expiry_timestamp_seconds")]: `${15 * day}x20`,
      [of("mqttzoo_link_tls_certificate_expiry_timestamp_seconds")]: `${15 * day}x20`,
    },
  },
  MqttzooRevocationListEnds: {
    fires: { [of("mqttzoo_tls_crl_expiry_timestamp_seconds")]: `${day}x20` },
    silent: { [of("mqttzoo_tls_crl_expiry_timestamp_seconds")]: `${3 * day}x20` },
  },
  MqttzooStrangersInTree: {
    fires: { [of("mqttzoo_store_strangers")]: "2x30" },
    silent: { [of("mqttzoo_store_strangers")]: "2x5 0x30" },
    minute: 20,
  },
};

/** Runs promtool on cases, all in one file; returns what it says is wrong, "" if nothing is. */
function judge(tests: readonly object[], ours: object = spec): string {
  const scratch = mkdtempSync(join(tmpdir(), "mqttzoo-alerts-"));
  try {
    // YAML reads JSON.
    writeFileSync(join(scratch, "rules.yaml"), JSON.stringify(ours));
    const text = JSON.stringify({ rule_files: ["rules.yaml"], evaluation_interval: "30s", tests });
    writeFileSync(join(scratch, "tests.yaml"), text);
    const { exitCode, stdout, stderr } = Bun.spawnSync(["promtool", "test", "rules", "tests.yaml"], { cwd: scratch });
    return exitCode === 0 ? "" : `${stdout}${stderr}`;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const alertsIn = (values: Series, alert: string, { minute, fires }: { minute: number; fires: boolean }): object => ({
  interval: "1m",
  input_series: Object.entries(values).map(([series, said]) => ({ series, values: said })),
  // `ALERTS` has no annotations, whose values are written nowhere else.
  promql_expr_test: [
    {
      expr: `count(ALERTS{alertname="${alert}",alertstate="firing"})`,
      eval_time: `${minute}m`,
      exp_samples: fires ? [{ labels: "{}", value: 1 }] : [],
    },
  ],
});

test("each alert has its cases, its words, and its line in the runbook", () => {
  expect(Object.keys(cases)).toEqual(rules.map(({ alert }) => alert));
  const runbook = readFileSync(join(folder, "README.md"), "utf8");
  for (const { alert, labels, annotations } of rules) {
    expect([alert, labels.severity]).toEqual([alert, expect.stringMatching(/^(critical|warning)$/)]);
    expect([alert, annotations.summary.length > 20]).toEqual([alert, true]);
    expect([alert, runbook.split(`| \`${alert}\` |`).length - 1]).toEqual([alert, 1]);
  }
});

test.each(Object.entries(cases))("%s fires when it should, and only then", (alert, { fires, silent, minute = 15 }) => {
  const firing = alertsIn(fires, alert, { minute, fires: true });
  expect(judge([firing, alertsIn(silent, alert, { minute, fires: false })])).toBe("");
});

test("what is judged is the rule: without it, and where the cases are turned round, promtool says so", () => {
  const { fires, silent } = cases.MqttzooStoreAway!;
  const turned = [
    alertsIn(fires, "MqttzooStoreAway", { minute: 15, fires: false }),
    alertsIn(silent, "MqttzooStoreAway", { minute: 15, fires: true }),
  ];
  for (const one of turned) expect(judge([one])).toContain("FAILED");
  const firing = alertsIn(fires, "MqttzooStoreAway", { minute: 15, fires: true });
  expect(judge([firing], { groups: [{ name: "none", rules: [] }] })).toContain("FAILED");
});
