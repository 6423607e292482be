/** Chunks that are handed on in pieces: their order, its end, and how long a turn may last. */
import { expect, test } from "bun:test";
import { pieceBytes, sliceMs } from "../../src/base/limits.ts";
import { inPieces } from "../../src/net/in-pieces.ts";

function scene(msOfPiece: number) {
  let at = 0;
  const said: string[] = [];
  const later: (() => void)[] = [];
  let longest = 0;
  const owner = { pause: () => void said.push("pause"), resume: () => void said.push("resume") };
  const received: number[] = [];
  const events = inPieces(
    {
      opened: () => owner,
      received: (_, bytes) => {
        at += msOfPiece;
        received.push(...bytes);
      },
      drained: () => {},
      closed: (_, error) => void said.push(`closed ${error}`),
    },
    {
      now: () => at,
      later: (go) => void later.push(go),
      run: (go) => {
        const startedAt = at;
        go();
        longest = Math.max(longest, at - startedAt);
      },
    },
  );
  const turn = (): void => later.shift()?.();
  return { events, owner, said, received, turn, later, longest: () => longest };
}

const chunk = (length: number, from = 0): Uint8Array => Uint8Array.from({ length }, (_, at) => (from + at) % 251);

test("little is handed on at once, and the connection is read on", () => {
  const { events, owner, said, received } = scene(1);
  events.received(owner, chunk(100));
  events.closed(owner, "gone");
  expect([received, said]).toEqual([[...chunk(100)], ["closed gone"]]);
});

test("much has several turns, none of them long; the connection is not read, and its end comes last", () => {
  const { events, owner, said, received, turn, later, longest } = scene(3);
  const all = chunk(20 * pieceBytes);
  events.received(owner, all.slice(0, 12 * pieceBytes));
  expect([said, received.length]).toEqual([["pause"], 4 * pieceBytes]);
  // What was on its way when reading ended.
  events.received(owner, all.slice(12 * pieceBytes));
  turn();
  events.closed(owner, undefined);
  while (later.length > 0) turn();
  expect(Buffer.from(received).equals(Buffer.from(all))).toBe(true);
  expect(said).toEqual(["pause", "closed undefined"]);
  expect(longest()).toBeLessThan(sliceMs + 3);
  const again = scene(3);
  again.events.received(again.owner, all);
  while (again.later.length > 0) again.turn();
  expect(again.said).toEqual(["pause", "resume"]);
});
