/**
 * Somebody who publishes to himself all the time, in a process of his own: the worst that he has waited for an answer
 * tells what others do to him. Run by itself with a port it tells over IPC what it is asked.
 */
import { RawClient } from "./raw-client.ts";

export interface Bystander {
  /** The longest wait since this was last asked, in ms. Rejects if he was disconnected. */
  worst(): Promise<number>;
  stop(): void;
}

export async function startBystander(port: number): Promise<Bystander> {
  let answer: (said: number) => void = () => {};
  const ready = Promise.withResolvers<void>();
  const child = Bun.spawn([process.execPath, import.meta.path, String(port)], {
    stdout: "inherit",
    stderr: "inherit",
    ipc: (said: number | "ready") => (said === "ready" ? ready.resolve() : answer(said)),
  });
  await ready.promise;
  return {
    async worst() {
      const { promise, resolve, reject } = Promise.withResolvers<number>();
      answer = resolve;
      void child.exited.then(() => reject(new Error("the bystander was disconnected")));
      child.send("worst");
      return promise;
    },
    stop: () => child.kill(),
  };
}

async function stand(port: number): Promise<void> {
  const client = await RawClient.connect(port, { clientId: "bystander" });
  await client.subscribe("bystander", { qos: 1 });
  let worst = 0;
  let startedAt = performance.now();
  process.on("message", () => {
    process.send!(Math.max(worst, performance.now() - startedAt));
    worst = 0;
  });
  process.send!("ready");
  for (let messageId = 1; ; messageId = (messageId % 65_535) + 1) {
    startedAt = performance.now();
    client.publish("bystander", "x", { qos: 1, messageId });
    client.send({ cmd: "puback", messageId: (await client.take("publish")).messageId });
    await client.take("puback");
    worst = Math.max(worst, performance.now() - startedAt);
    await Bun.sleep(2);
  }
}

if (import.meta.main) await stand(Number(process.argv[2]));
