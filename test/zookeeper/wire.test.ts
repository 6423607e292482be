/**
 * The ZooKeeper client against the recorded words of Apache's own client and server (wire.txt): asked for the
 * same, it must send the same bytes, and understand the answers, however they are cut.
 */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Socket } from "bun";
import { decodeUtf8, encodeUtf8, noBytes } from "../../src/base/bytes.ts";
import { ZooKeeper } from "../../src/zookeeper/zookeeper.ts";

interface Line {
  readonly from: "client" | "server" | "connection";
  readonly bytes: Buffer;
}

const lines = readFileSync(join(import.meta.dir, "wire.txt"), "utf8")
  .split("\n")
  .filter((text) => text !== "" && !text.startsWith("#"))
  .map((text): Line => {
    const from = text === "connection" ? "connection" : text[0] === ">" ? "client" : "server";
    return { from, bytes: Buffer.from(text.slice(2), "hex") };
  });

/** How the answers are cut: in whole packets, byte by byte, or all that is due at once. */
type Cut = "packets" | "bytes" | "at once";

/** A server that knows its lines: hears each packet of the client, compares, and says what the real one said. */
class Replay {
  readonly heard: string[] = [];
  readonly expected: string[] = [];
  readonly #cut: Cut;
  #at = 0;
  #rest: Buffer = Buffer.alloc(0);
  readonly #listener;

  constructor(cut: Cut) {
    this.#cut = cut;
    this.#listener = Bun.listen<undefined>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: (socket) => {
          socket.setNoDelay(true);
          this.#rest = Buffer.alloc(0);
          if (lines[this.#at]?.from === "connection") this.#at++;
        },
        data: (socket, bytes) => this.#hear(socket, bytes),
      },
    });
  }

  get port(): number {
    return this.#listener.port;
  }

  get isOver(): boolean {
    return this.#at >= lines.length;
  }

  stop(): void {
    this.#listener.stop(true);
  }

  #hear(socket: Socket<undefined>, bytes: Uint8Array): void {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const answers: Buffer[] = [];
    while (this.#rest.length >= 4 && this.#rest.length >= 4 + this.#rest.readInt32BE(0)) {
      const packet = this.#rest.subarray(0, 4 + this.#rest.readInt32BE(0));
      this.#rest = this.#rest.subarray(packet.length);
      const line = lines[this.#at++];
      this.heard.push(packet.toString("hex"));
      this.expected.push(line?.from === "client" ? line.bytes.toString("hex") : "nothing");
      for (; lines[this.#at]?.from === "server"; this.#at++) answers.push(lines[this.#at]!.bytes);
    }
    if (this.#cut === "at once") socket.write(Buffer.concat(answers));
    else if (this.#cut === "packets") for (const answer of answers) socket.write(answer);
    else for (const byte of Buffer.concat(answers)) socket.write(new Uint8Array([byte]));
    if (lines[this.#at]?.from === "connection") setTimeout(() => socket.terminate(), 5);
  }
}

async function performTheSame(zookeeper: ZooKeeper): Promise<unknown[]> {
  const said: unknown[] = [];
  const note = async (answer: Promise<unknown>): Promise<void> => {
    said.push(await answer.catch((error) => `${error.code} ${error.path} ${error.index}`));
  };
  await note(zookeeper.create("/p", encodeUtf8("data")));
  await note(zookeeper.create("/p/seq-", noBytes, { mode: "persistentSequential" }));
  await note(zookeeper.create("/p/eph", new Uint8Array([1, 2]), { mode: "ephemeral" }));
  await note(zookeeper.create("/p/eseq-", noBytes, { mode: "ephemeralSequential" }));
  await note(zookeeper.create("/c", noBytes, { mode: "container" }));
  await note(zookeeper.create("/ttl", noBytes, { mode: "persistentWithTtl", ttl: 60_000 }));
  await note(zookeeper.create("/tseq-", noBytes, { mode: "persistentSequentialWithTtl", ttl: 60_000 }));
  await note(zookeeper.exists("/none"));
  await note(zookeeper.exists("/p"));
  await note(zookeeper.get("/p"));
  await note(zookeeper.set("/p", encodeUtf8("new"), 0));
  await note(zookeeper.children("/p"));
  await note(zookeeper.getAcl("/p"));
  const id = "user:smGaoVKd/cQkjm7b88GyorAUz20=";
  await note(zookeeper.setAcl("/c", [{ perms: 31, scheme: "digest", id }], 0));
  zookeeper.addAuth("digest", "user:password");
  await note(new Promise((resolve) => zookeeper.client.submit(syncOf("/p"), (_, path) => resolve(path))));
  await note(
    zookeeper.multi([
      { kind: "create", path: "/m", data: encodeUtf8("x"), mode: "persistent" },
      { kind: "setData", path: "/p", data: encodeUtf8("multi"), version: 1 },
      { kind: "check", path: "/p", version: 2 },
      { kind: "delete", path: "/ttl", version: -1 },
    ]),
  );
  await note(
    zookeeper.multi([
      { kind: "setData", path: "/p", data: noBytes, version: -1 },
      { kind: "check", path: "/p", version: 77 },
      { kind: "delete", path: "/m", version: -1 },
    ]),
  );
  await note(
    zookeeper.multiRead([
      { kind: "getData", path: "/p" },
      { kind: "getChildren", path: "/p" },
      { kind: "getData", path: "/none" },
    ]),
  );
  const events: string[] = [];
  const hear = ({ type, path }: { type: string; path: string }): void => void events.push(`${type} ${path}`);
  zookeeper.watch("/", "recursive", hear);
  const unwatch = zookeeper.watch("/p", "persistent", () => {});
  await note(zookeeper.set("/p", noBytes));
  await note(zookeeper.get("/m", () => {}));
  await note(zookeeper.exists("/none", () => {}));
  await note(zookeeper.children("/m", () => {}));
  await note(zookeeper.delete("/none"));
  const moved = new Promise<void>((resolve) => zookeeper.client.onState((state) => state === "CONNECTED" && resolve()));
  unwatch();
  await moved;
  await note(zookeeper.exists("/"));
  said.push(events);
  return said;
}

function syncOf(path: string) {
  return {
    type: 9,
    path,
    write: (to: { text(value: string): unknown }, full: string) => void to.text(full),
    decode: (from: { text(): string }) => from.text(),
  };
}

for (const cut of ["packets", "bytes", "at once"] as const) {
  test(`the same words as Apache's client, answers cut: ${cut}`, async () => {
    const replay = new Replay(cut);
    const zookeeper = await ZooKeeper.connect(`127.0.0.1:${replay.port}`, { sessionTimeoutMs: 6000 });
    const said = await performTheSame(zookeeper);
    await zookeeper.close();
    expect(replay.heard).toEqual(replay.expected);
    expect(replay.isOver).toBe(true);
    const paths = said.slice(0, 7).map((response) => (response as { path: string }).path);
    expect(paths).toEqual([
      "/p",
      "/p/seq-0000000000",
      "/p/eph",
      "/p/eseq-0000000002",
      "/c",
      "/ttl",
      "/tseq-0000000003",
    ]);
    const { stat } = said[2] as { stat: { ephemeralOwner: bigint } };
    expect(stat.ephemeralOwner).toBe(zookeeper.client.sessionId);
    expect(said[7]).toBeUndefined();
    expect(said[8]).toMatchObject({ czxid: 2, mzxid: 2, version: 0, cversion: 3, dataLength: 4, numChildren: 3 });
    expect(decodeUtf8((said[9] as { data: Uint8Array }).data)).toBe("data");
    expect(said[10]).toMatchObject({ version: 1, dataLength: 3 });
    expect((said[11] as { children: string[] }).children.sort()).toEqual(["eph", "eseq-0000000002", "seq-0000000000"]);
    expect(said[12]).toMatchObject({ acl: [{ perms: 31, scheme: "world", id: "anyone" }], stat: { aversion: 0 } });
    expect(said[13]).toMatchObject({ aversion: 1 });
    expect(said[14]).toBe("/p");
    expect(said[15]).toMatchObject([
      { path: "/m" },
      { path: "/p", stat: { version: 2 } },
      { path: "/p" },
      { path: "/ttl" },
    ]);
    expect(said[16]).toBe("BadVersion /p 1");
    const [read, list, none] = said[17] as [{ data: Uint8Array }, { children: string[] }, string];
    expect([decodeUtf8(read.data), list.children.length, none]).toEqual(["multi", 3, "NoNode"]);
    expect(said.slice(18, 23)).toMatchObject([
      { version: 3 },
      { stat: { version: 0 } },
      undefined,
      { children: [] },
      "NoNode /none 0",
    ]);
    expect(said[23]).toMatchObject({ numChildren: 5 });
    expect(said[24]).toEqual(["changed /p", "deleted /p/eseq-0000000002", "deleted /p/eph"]);
    replay.stop();
  });
}
