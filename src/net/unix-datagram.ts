/**
 * Datagrams to a Unix socket, which Bun's own sockets do not speak: the C library's calls, loaded when they are first
 * needed. A place has none where its C library is not glibc.
 */
import type { FFIFunction } from "bun:ffi";
import { messageOf, OperatingError } from "../base/errors.ts";

/** A way to one Unix socket. */
export interface UnixDatagrams {
  /** Sends a datagram. Returns false if nobody has taken it: it never waits. */
  send(text: string): boolean;
  /** Microseconds of the system's monotonic clock, which other processes of this machine read, too. */
  monotonicUs(): bigint;
}

/** Linux' numbers, the same on x86-64 and on arm64. */
const unixFamily = 1;
const datagramSocket = 2;
const closeOnExec = 0o2000000;
const withoutWaiting = 0x40;
const withoutSignal = 0x4000;
const monotonicClock = 1;
/** Room for a path in an address, its last zero included. */
const pathBytesMax = 108;

const calls = {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  sendto: { args: ["i32", "ptr", "u64", "i32", "ptr", "u32"], returns: "i64" },
  clock_gettime: { args: ["i32", "ptr"], returns: "i32" },
} as const satisfies Record<string, FFIFunction>;

/**
 * Opens the way to a socket. `path`: of a file, or behind `@` a name that is none of a file's. Rejects with
 * `OperatingError` if there can be none from here.
 */
export async function openUnixDatagrams(path: string): Promise<UnixDatagrams> {
  const address = addressOf(path);
  const { dlopen } = await import("bun:ffi");
  const libc = (() => {
    try {
      return dlopen("libc.so.6", calls).symbols;
    } catch (error) {
      throw new OperatingError("EFAILED", `the C library cannot be called: ${messageOf(error)}`);
    }
  })();
  const socket = libc.socket(unixFamily, datagramSocket | closeOnExec, 0);
  if (socket < 0) throw new OperatingError("EFAILED", "there is no Unix socket to send from");
  return {
    send(text) {
      const bytes = Buffer.from(text);
      const how = withoutWaiting | withoutSignal;
      return Number(libc.sendto(socket, bytes, bytes.length, how, address, address.length)) === bytes.length;
    },
    monotonicUs() {
      const [seconds, nanoseconds] = timeOf((time) => libc.clock_gettime(monotonicClock, time));
      return seconds * 1_000_000n + nanoseconds / 1000n;
    },
  };
}

/** Returns the address (`sockaddr_un`) of a socket. Throws `OperatingError` if there is none of that name. */
function addressOf(path: string): Buffer {
  const isAbstract = path.startsWith("@");
  const name = Buffer.from(isAbstract ? `\0${path.slice(1)}` : `${path}\0`);
  if (!/^[@/]/.test(path) || name.length > pathBytesMax)
    throw new OperatingError("EUSAGE", `${path} is no address of a Unix socket`);
  const family = Buffer.alloc(2);
  family.writeUInt16LE(unixFamily);
  return Buffer.concat([family, name]);
}

/** Reads a time as C has it (`timespec`): seconds and nanoseconds. */
function timeOf(read: (time: BigInt64Array) => void): readonly [bigint, bigint] {
  const time = new BigInt64Array(2);
  read(time);
  return [time[0]!, time[1]!];
}
