/** Names in the tree: what strangers have written is taken for what it is, and never thrown at. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  decodeName,
  encodeAstral,
  encodeName,
  incomingPath,
  isEncoded,
  levelMode,
  mailPath,
  parentPath,
  sessionPath,
  topicOfPath,
  topicPath,
} from "../../src/coordinator/paths.ts";
import { isValidPath } from "../../src/coordinator/valid-path.ts";

test("whatever is a topic is a path, and back", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 40 }), (topic) => {
      const path = topicPath("/topics", topic);
      expect(isValidPath(path)).toBe(true);
      expect(topicOfPath("/topics", path)).toBe(topic);
      for (const name of path.split("/").slice(2)) expect(isEncoded(name)).toBe(true);
    }),
  );
});

test("any name can be decoded; one that nobody has encoded is known by that", () => {
  for (const name of ["%zz", "%", "%%", "%E0%A4", "caf%C3%A9", "%41", "%F0%9F%98", "%e0%a4%a5", "a%2fb"])
    expect([name, typeof decodeName(name), isEncoded(name)]).toEqual([name, "string", name === "%"]);
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 20 }), (name) => {
      expect(isEncoded(name)).toBe(encodeName(decodeName(name)) === name);
      expect(isEncoded(encodeName(name))).toBe(true);
    }),
  );
});

test("a mailbox stays when it is empty, as long as its session, and does not number its slips from 0 again", () => {
  const modes = [mailPath("c"), mailPath("mail"), incomingPath("c"), sessionPath("c"), "/topics/mail"].map(levelMode);
  expect(modes).toEqual(["persistent", "persistent", "container", "container", "container"]);
  expect(levelMode(parentPath(topicPath("/retained", "a/b")))).toBe("persistent");
});

test("a path of the first format is what it is called now", () => {
  expect(encodeAstral("/topics/a/😀b/=1")).toBe("/topics/a/%F0%9F%98%80b/=1");
  expect(encodeAstral("/topics/%F0%9F%98%80")).toBe("/topics/%F0%9F%98%80");
});
