/** A word used as every name that a client may give: client id, topic, filter, group, will, retained message, mail. */
import { expect } from "bun:test";
import { type AnyPacket, RawClient } from "./raw-client.ts";

/** Characters at the edges of what ZooKeeper takes in a name, and ordinary ones beyond U+FFFF. */
export const words = [
  "😀",
  "👩‍👩‍👧",
  "\u{10000}",
  "\u{10fffd}",
  "\u0085",
  "\ue000",
  "\ufffd",
  "\uffef",
  "日本",
  "a😀%",
  ".",
  "..",
  "=😀",
];

const connectAt = (port: number, options: AnyPacket = {}) =>
  RawClient.connect(port, { protocolVersion: 5, ...options });

let uses = 0;

/** `near` and `far` may be two brokers of one cluster. */
export async function useEverywhere(word: string, { near, far }: { near: number; far: number }): Promise<void> {
  const root = `t${++uses}/${word}`;
  const topic = `${root}/x`;
  const id = `c ${word} ${uses}`;
  const keeps = { clean: false, clientId: id, properties: { sessionExpiryInterval: 600 } };
  const away = await connectAt(near, keeps);
  await away.subscribe(topic, { qos: 1 });
  await away.subscribe(`+/${word}/none`, { qos: 1 });
  const clean = await connectAt(near, { clientId: `${word} clean` });
  await clean.subscribe(`${root}/#`, { qos: 1 });
  const member = await connectAt(far, { clientId: `${word} member` });
  await member.subscribe(`$share/${word}/${topic}`, { qos: 1 });
  away.abort();

  const publisher = await connectAt(far, {
    clientId: `${word} publisher`,
    will: { topic: `${root}/gone`, payload: Buffer.from("gone"), qos: 1, retain: true, properties: {} },
  });
  publisher.publish(topic, "x", { qos: 1, messageId: 1, retain: true });
  expect((await publisher.take("puback")).reasonCode ?? 0).toBe(0);
  expect((await clean.take("publish")).topic).toBe(topic);
  expect((await member.take("publish")).topic).toBe(topic);
  publisher.abort();
  expect((await clean.take("publish")).topic).toBe(`${root}/gone`);

  const back = await connectAt(far, keeps);
  expect(back.connack.sessionPresent).toBe(true);
  expect((await back.take("publish")).topic).toBe(topic);
  const late = await connectAt(near, { clientId: `${word} late` });
  await late.subscribe(`${root}/#`);
  const kept = await late.takeMany("publish", 2);
  expect(kept.map((message: AnyPacket) => message.topic).sort()).toEqual([`${root}/gone`, topic].sort());
  for (const client of [back, clean, member, late]) client.disconnect();
}
