/** paho-mqtt for Python (Debian's python3-paho-mqtt), as an outside program. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { startBroker, type TestBroker } from "../support/broker.ts";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker();
});
afterAll(() => broker.stop());

test.each(["31", "311", "5"])(
  "version %s",
  async (version) => {
    // Debian's modules belong to Debian's Python, whatever else stands first in the path.
    const child = Bun.spawn(
      ["/usr/bin/python3", join(import.meta.dir, "through_paho.py"), String(broker.port), version],
      { stdout: "pipe", stderr: "pipe" },
    );
    const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    expect(err).toBe("");
    expect(out).toBe("OK\n");
  },
  120_000,
);
