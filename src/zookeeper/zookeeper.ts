/**
 * ZooKeeper for programs: the client with promises. Rejections are `ZooKeeperError`; its `outcomeUnknown` says whether
 * what was asked may have happened all the same.
 */
import { encodeUtf8, noBytes } from "../base/bytes.ts";
import { type Done, type WatchMode, ZooKeeperClient } from "./client.ts";
import { OpCode } from "./codes.ts";
import type { JuteReader } from "./jute.ts";
import type { ZooKeeperOptions } from "./options.ts";
import {
  type Acl,
  decodeAcl,
  decodeStat,
  type ReadRequest,
  type ReadResponse,
  type Stat,
  type WriteRequest,
  type WriteResponse,
  writeAcl,
  type ZooKeeperCreateMode,
} from "./records.ts";
import type { WatchListener } from "./watches.ts";

export interface CreateOptions {
  readonly mode?: ZooKeeperCreateMode;
  readonly acl?: readonly Acl[];
  /** Milliseconds; for the modes with TTL. */
  readonly ttl?: number;
}

export class ZooKeeper {
  readonly client: ZooKeeperClient;

  constructor(client: ZooKeeperClient) {
    this.client = client;
  }

  /** Resolves when there is a session. Rejects with `OperatingError` that says what every server has said. */
  static async connect(connectString: string, options: ZooKeeperOptions = {}): Promise<ZooKeeper> {
    return new ZooKeeper(await ZooKeeperClient.connect(connectString, options));
  }

  create(path: string, data: Uint8Array = noBytes, options: CreateOptions = {}): Promise<WriteResponse> {
    const { mode = "persistent", ...rest } = options;
    return this.multi([{ kind: "create", path, data, mode, ...rest }]).then(([response]) => response!);
  }

  async delete(path: string, version = -1): Promise<void> {
    await this.multi([{ kind: "delete", path, version }]);
  }

  set(path: string, data: Uint8Array, version = -1): Promise<Stat> {
    return this.multi([{ kind: "setData", path, data, version }]).then(([response]) => response!.stat!);
  }

  get(path: string, watch?: WatchListener): Promise<{ data: Uint8Array; stat: Stat }> {
    const decode = (from: JuteReader) => ({ data: from.buffer(), stat: decodeStat(from) });
    return promised((done) =>
      this.client.submitWatchedRead({ type: OpCode.getData, path, kind: "data", decode }, watch, done),
    );
  }

  children(path: string, watch?: WatchListener): Promise<{ children: string[]; stat: Stat }> {
    const decode = (from: JuteReader) => ({ children: from.vector((entry) => entry.text()), stat: decodeStat(from) });
    return promised((done) =>
      this.client.submitWatchedRead({ type: OpCode.getChildren2, path, kind: "child", decode }, watch, done),
    );
  }

  /** Undefined if there is no such node; the watch then tells of its creation. */
  exists(path: string, watch?: WatchListener): Promise<Stat | undefined> {
    return promised((done) => this.client.submitExists(path, watch, done));
  }

  /** All happen, or none. */
  multi(requests: readonly WriteRequest[]): Promise<readonly WriteResponse[]> {
    return promised((done) => this.client.submitWrite(requests, done));
  }

  /** Each answers or fails for itself. */
  multiRead(requests: readonly ReadRequest[]): Promise<readonly ReadResponse[]> {
    return promised((done) => this.client.submitRead(requests, done));
  }

  async sync(): Promise<void> {
    await promised<string>((done) => this.client.submitSync(done));
  }

  getAcl(path: string): Promise<{ acl: Acl[]; stat: Stat }> {
    const decode = (from: JuteReader) => ({ acl: decodeAcl(from), stat: decodeStat(from) });
    return promised((done) =>
      this.client.submit({ type: OpCode.getAcl, path, write: (to, full) => to.text(full), decode }, done),
    );
  }

  setAcl(path: string, acl: readonly Acl[], aclVersion = -1): Promise<Stat> {
    const write = (to: Parameters<typeof writeAcl>[0], full: string) => writeAcl(to.text(full), acl).int(aclVersion);
    return promised((done) => this.client.submit({ type: OpCode.setAcl, path, write, decode: decodeStat }, done));
  }

  /** Credentials for nodes with an access control list, as `digest` takes them: `user:password`. */
  addAuth(scheme: string, credentials: string): void {
    this.client.addAuth(scheme, encodeUtf8(credentials));
  }

  /** Watches until the returned function is called. After lost contact the listener is told `missed`. */
  watch(path: string, mode: WatchMode, listener: WatchListener): () => void {
    return this.client.watch(path, mode, listener);
  }

  async ensureChroot(): Promise<void> {
    await promised<void>((done) => this.client.ensureChroot(done));
  }

  /** Ends the session in order: what was asked before is answered, ephemeral nodes vanish. */
  close(): Promise<void> {
    return this.client.close();
  }
}

function promised<Result>(ask: (done: Done<Result>) => void): Promise<Result> {
  return new Promise((resolve, reject) => {
    ask((error, result) => {
      if (error === undefined) resolve(result);
      else reject(error);
    });
  });
}
