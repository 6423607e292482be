/**
 * MQTT-SN's multicast group, in a network of its own: what is said there leaves no machine. Without Linux's namespaces
 * it is left out.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";

const setUp = "ip link set lo up && ip route add 224.0.0.0/4 dev lo";
const inNamespace = (command: string) => Bun.spawnSync(["unshare", "-rn", "sh", "-c", `${setUp} && ${command}`]);
const hasNamespaces = Bun.which("unshare") !== null && inNamespace("true").exitCode === 0;

test.skipIf(!hasNamespaces)(
  "a broker advertises itself, and is found by who looks for it",
  () => {
    const script = join(import.meta.dir, "../support/multicast-room.ts");
    const { exitCode, stdout, stderr } = inNamespace(`exec ${process.execPath} ${script}`);
    expect([exitCode, stderr.toString()]).toEqual([0, ""]);
    expect(JSON.parse(stdout.toString())).toEqual({
      advertised: { kind: "advertise", gatewayId: 9, duration: 900 },
      answers: ["gwinfo", "gwinfo", "connack"],
      gatewayIds: [9, 9],
      isFromItsOwnPort: true,
      clients: 1,
    });
  },
  60_000,
);
