/** The silence of a ZooKeeper server: it is hung up on, but not for answers that lie unread. */
import { expect, test } from "bun:test";
import { silenceLookMs } from "../../src/base/limits.ts";
import { systemRandom } from "../../src/base/random.ts";
import { Xid } from "../../src/zookeeper/codes.ts";
import { JuteWriter } from "../../src/zookeeper/jute.ts";
import { KeeperSession } from "../../src/zookeeper/keeper-session.ts";

const sessionTimeoutMs = 3000;
/** Two thirds of it: no answer for so long is too long. */
const silenceMs = 2000;

/** A session that is connected at time 0, and pings. */
function connected() {
  const said: string[] = [];
  const session = new KeeperSession(
    { servers: [{ host: "zk", port: 1 }], sessionTimeoutMs, packetBytesMax: 1000, random: systemRandom },
    {
      dial: () => void said.push("dial"),
      send: () => {},
      hangUp: () => void said.push("hang up"),
      stateChanged: (state) => void said.push(state),
      sooner: () => {},
    },
  );
  session.tick(0);
  session.dialled(0);
  const welcome = new JuteWriter().int(0).int(sessionTimeoutMs).long(7).buffer(new Uint8Array(16)).bool(false);
  session.received(welcome.packet(), 0);
  said.splice(0);
  const pong = new JuteWriter().int(Xid.ping).long(1).int(0).packet();
  /** Time passes up to `now`, and the session is told at each of its deadlines. */
  const pass = (now: number): void => {
    while (session.nextDeadline() <= now) session.tick(session.nextDeadline());
  };
  return { session, said, pong, pass };
}

test("a server that answers nothing is hung up on a moment after two thirds of the session's time", () => {
  const { said, pass } = connected();
  pass(silenceMs);
  expect(said).toEqual([]);
  pass(silenceMs + silenceLookMs);
  expect(said.slice(0, 2)).toEqual(["hang up", "SUSPENDED"]);
});

test("an answer that lay unread while the process was held up counts", () => {
  const { session, said, pong, pass } = connected();
  pass(1000);
  session.tick(2500);
  expect(said).toEqual([]);
  session.received(pong, 2510);
  pass(4500);
  expect(said).toEqual([]);
});

test("a look that comes late is not the last one, as long as the session may live", () => {
  const { session, said } = connected();
  for (const now of [2100, 2400, 2700]) session.tick(now);
  expect(said).toEqual([]);
  session.tick(3000);
  expect(said.slice(0, 2)).toEqual(["hang up", "SUSPENDED"]);
});
