/**
 * A configuration of mosquitto's, brought to options of ours. What has no counterpart is told with its place, and with
 * what to do about it. Nothing of it lets in who was kept out: what cannot be had as it was is left out.
 */
import { type Counterpart, counterparts, type Options } from "./counterparts.ts";
import type { Directive } from "./directives.ts";
import { type ForeignListener, isOfListener, isOn, type Note, translateListeners } from "./listeners.ts";

/** A setting that has no counterpart, or not all of it. */
export interface Remark {
  readonly place: string;
  readonly setting: string;
  readonly words: string;
}

/** A broker of ours that takes another one's place. */
export interface Translation {
  /** By their long names; without those of the files below. */
  readonly options: ReadonlyMap<string, string>;
  readonly remarks: readonly Remark[];
  /** Paths of mosquitto's files; undefined: there are none. */
  readonly passwordFile: string | undefined;
  readonly aclFile: string | undefined;
  /** The file in which it keeps what it must not forget; undefined: it keeps nothing. */
  readonly database: string | undefined;
  /** True: nobody could log in there, so that nobody must be let in here. */
  readonly isClosed: boolean;
}

/** Settings of logins, which are a listener's own where `per_listener_settings` says so. */
const ofAccess = new Set(["allow_anonymous", "listener_allow_anonymous", "password_file", "acl_file"]);

/** Settings that a bridge's section holds. */
const ofBridge =
  /^(connection|address|addresses|topic|bridge_.*|(local_)?cleansession|(local_)?clientid|(local|remote)_(clientid|username|password)|username|password|keepalive_interval|idle_timeout|notifications|notifications_local_only|notification_topic|restart_timeout|round_robin|start_type|threshold|try_private)$/;

/** The listener of a broker for which none is set. */
const byDefault: Directive = { name: "port", value: "1883", place: "by default" };

const bridgeWords =
  "no bridges are made from here: keep a mosquitto with this section, and one more `connection` that leads to this " +
  "broker; it is let in as any client is, and shows its state below $SYS/broker/connection";

/** Translates settings. `resolvePath` makes a path one that holds in any folder. */
export function translate(directives: readonly Directive[], resolvePath: (path: string) => string): Translation {
  const remarks: Remark[] = [];
  const options: Options = new Map();
  const note: Note = ({ place, name }, words) => void remarks.push({ place, setting: name, words });
  const { general, listeners, isLocal } = sort(directives, note);
  for (const directive of general) applyGeneral(directive, options, note);
  translateListeners(listeners, { options, note, resolvePath });
  if (isLocal) options.set("host", "127.0.0.1");
  const perListener = lastOf(general, "per_listener_settings")?.value.toLowerCase() === "true";
  const access = translateAccess(perListener ? listeners : [{ opened: byDefault, settings: directives }], {
    ...{ options, note, resolvePath, isLocal, perListener },
  });
  return { options, remarks, ...access, database: databaseOf(general, resolvePath) };
}

interface Sorted {
  /** The settings that hold for the whole broker. */
  readonly general: readonly Directive[];
  readonly listeners: readonly ForeignListener[];
  /** True: no listener is named, so that mosquitto serves its own machine alone. */
  readonly isLocal: boolean;
}

/** Sorts settings by what they belong to. Each bridge is told once. */
function sort(directives: readonly Directive[], note: Note): Sorted {
  const general: Directive[] = [];
  const listeners: { opened: Directive; settings: Directive[] }[] = [];
  const unnamed: Directive[] = [];
  for (const directive of directives) {
    const { name } = directive;
    const current = listeners.at(-1)?.settings ?? unnamed;
    if (name === "listener") listeners.push({ opened: directive, settings: [] });
    else if (name === "connection") note(directive, bridgeWords);
    else if (ofBridge.test(name)) continue;
    else if (isOfListener(name)) current.push(directive);
    else {
      general.push(directive);
      if (ofAccess.has(name)) current.push(directive);
    }
  }
  const port = lastOf(unnamed, "port");
  const isLocal = listeners.length === 0 && port === undefined && lastOf(unnamed, "bind_address") === undefined;
  if (port !== undefined || listeners.length === 0) listeners.unshift({ opened: port ?? byDefault, settings: unnamed });
  return { general, listeners, isLocal };
}

const lastOf = (directives: readonly Directive[], wanted: string): Directive | undefined =>
  directives.findLast(({ name }) => name === wanted);

const isPluginOption = /^(auth|plugin)_opt_/;

function applyGeneral(directive: Directive, options: Options, note: Note): void {
  const { name, value } = directive;
  if (ofAccess.has(name) || name === "per_listener_settings" || isPluginOption.test(name)) return;
  const counterpart: Counterpart | undefined = Object.hasOwn(counterparts, name) ? counterparts[name] : undefined;
  if (counterpart === undefined)
    return note(directive, "this is no setting that is known of mosquitto's; see its manual");
  if (counterpart === "same") return;
  const words = typeof counterpart === "function" ? counterpart(value, options) : counterpart.advice;
  if (words !== undefined) note(directive, words);
}

interface AccessSurroundings {
  readonly options: Options;
  readonly note: Note;
  readonly resolvePath: (path: string) => string;
  readonly isLocal: boolean;
  readonly perListener: boolean;
}

/** Sets who comes in: with several listeners of different rules, those of the first one, and nobody anonymously. */
function translateAccess(
  listeners: readonly ForeignListener[],
  { options, note, resolvePath, isLocal, perListener }: AccessSurroundings,
): Pick<Translation, "passwordFile" | "aclFile" | "isClosed"> {
  const fileOf = (name: string): string | undefined => {
    const given = listeners.map(({ settings }) => lastOf(settings, name));
    const first = given.find((directive) => directive !== undefined);
    for (const [at, directive] of given.entries())
      if (directive?.value !== first?.value)
        note(
          directive ?? { ...listeners[at]!.opened, name },
          `all ports have one list, ${first!.value}: start another broker where others are to be let in`,
        );
    return first && resolvePath(first.value);
  };
  const passwordFile = fileOf("password_file");
  const aclFile = fileOf("acl_file");
  const isAnonymous = (listener: ForeignListener): boolean => {
    const name = perListener ? "listener_allow_anonymous" : "allow_anonymous";
    const said = lastOf(listener.settings, name) ?? lastOf(listener.settings, "allow_anonymous");
    return said === undefined ? isLocal : isOn({ ...listener, settings: [said] }, said.name);
  };
  const anonymous = listeners.filter(isAnonymous);
  if (anonymous.length === listeners.length) options.set("allow-anonymous", "true");
  else
    for (const { opened } of anonymous)
      note(opened, "clients without a user name are let in at no port, since one of them keeps them out");
  // A certificate that names nobody lets nobody in by itself.
  const proves = passwordFile !== undefined || options.get("tls-identity") === "cn";
  return { passwordFile, aclFile, isClosed: !proves && !options.has("allow-anonymous") };
}

function databaseOf(general: readonly Directive[], resolvePath: (path: string) => string): string | undefined {
  if (lastOf(general, "persistence")?.value.toLowerCase() !== "true") return undefined;
  const folder = lastOf(general, "persistence_location")?.value ?? "";
  const file = lastOf(general, "persistence_file")?.value ?? "mosquitto.db";
  return resolvePath(folder === "" ? file : `${folder.replace(/\/$/, "")}/${file}`);
}
