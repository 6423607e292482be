/** Connect strings: `host:port,host:port/chroot`, IPv6 in brackets, port 2181 where none is given. */
import { OperatingError } from "../base/errors.ts";

export interface Server {
  readonly host: string;
  readonly port: number;
}

export interface ConnectString {
  readonly servers: readonly Server[];
  /** Empty, or a path without a slash at its end. */
  readonly chroot: string;
}

const defaultPort = 2181;

/** Throws `OperatingError` that says what is wrong. */
export function parseConnectString(text: string): ConnectString {
  const slash = text.indexOf("/");
  const hosts = slash === -1 ? text : text.slice(0, slash);
  const chroot = slash === -1 ? "" : text.slice(slash).replace(/\/+$/, "");
  if (/\/\/|\/\.{1,2}(\/|$)/.test(chroot)) throw wrong(text, `the chroot ${chroot} is no path`);
  const servers = hosts.split(",").map((part) => parseServer(text, part.trim()));
  return { servers, chroot };
}

function parseServer(text: string, part: string): Server {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d+))?$/.exec(part);
  if (match === null) throw wrong(text, `${JSON.stringify(part)} is no server`);
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  if (port < 1 || port > 65_535) throw wrong(text, `${match[3]} is no port`);
  return { host: (match[1] ?? match[2])!, port };
}

function wrong(text: string, why: string): OperatingError {
  return new OperatingError(
    "EUSAGE",
    `ZooKeeper servers ${JSON.stringify(text)}: ${why}; write zk1:2181,zk2:2181/chroot`,
  );
}
