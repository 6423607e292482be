/** The errors of a client that an application does not look at: they are no end of its process. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { withBroker } from "../support/broker.ts";

const library = join(import.meta.dir, "../../src/client/for-bun.ts");

test("publishes that nobody awaits are refused, and callbacks throw: the application goes on", async () => {
  await withBroker({}, async (broker) => {
    const script = `
      import { connect } from ${JSON.stringify(library)};
      const onStatus = () => { throw new Error("of the application's own"); };
      const client = await connect("mqtt://127.0.0.1:${broker.port}", { onStatus, offline: { messagesMax: 0 } });
      client.publish("$SYS/broker/version", "not mine", { qos: 1 });
      client.publish("a/#", "no topic");
      client.publish("a", "x", { qos: 1, signal: AbortSignal.abort() });
      client.publish("a", undefined, { schema: { "~standard": { validate: () => ({ issues: [{ message: "no" }] }) } } });
      await client.flush();
      await client.end();
      client.publish("a", "too late", { qos: 1 });
      await Bun.sleep(100);
      console.log("goes on");
    `;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "pipe" });
    const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    expect({ code: await child.exited, out }).toEqual({ code: 0, out: "goes on\n" });
    expect(err).toContain("mqttzoo: onStatus has thrown");
  });
});

test("a first connection that is given up at any moment: who asked for it hears of it, and the application goes on", async () => {
  await withBroker({}, async (broker) => {
    const script = `
      import { connect } from ${JSON.stringify(library)};
      const given = [];
      // From before anything is dialled to about when CONNACK comes.
      for (let turns = 0; turns < 60; turns++) {
        const gone = new AbortController();
        const connecting = connect("mqtt://127.0.0.1:${broker.port}", { signal: gone.signal });
        for (let turn = 0; turn < turns; turn++) await (turn % 3 === 2 ? new Promise(setImmediate) : undefined);
        gone.abort();
        given.push(connecting.then((client) => client.end()).catch((error) => error.name));
      }
      const names = new Set(await Promise.all(given));
      await Bun.sleep(100);
      console.log([...names].sort().join());
    `;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "pipe" });
    const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    expect({ code: await child.exited, err, out }).toEqual({
      code: 0,
      err: "",
      out: expect.stringMatching(/^,?AbortError,?\n$/),
    });
  });
});
