/** An explanation is put together from what brokers tell: what only follows from all of it, and what must not. */
import { expect, test } from "bun:test";
import { explainOperations } from "../../src/api/explain.ts";
import type { Explanation, FindingRow } from "../../src/api/explain-rows.ts";
import type { Operation, Outcome } from "../../src/api/route.ts";

const [explainDelivery] = explainOperations as readonly [Operation];

/** Explains by what the broker that is asked tells, and what another one does. */
function explain(own: readonly Partial<FindingRow>[], other: readonly Partial<FindingRow>[] = []): string[] {
  const row = (broker: string, one: Partial<FindingRow>) => ({ broker, weight: "possible", text: "", ...one });
  let said: string[] = [];
  const call = {
    query: { client_id: "c", topic: "t" },
    reading: {
      id: "a",
      countMail: (_: unknown, done: (counts: ReadonlyMap<string, number>) => void) => done(new Map()),
      explainDelivery: () => own.map((one) => row("a", one)),
    },
    cluster: {
      askAll: (_: unknown, done: (answers: object) => void) => {
        const findings = other.map((one) => row("b", one));
        done({ answers: [{ broker: "b", answer: { value: { findings, unanswered: [] } } }], unanswered: [] });
      },
    },
    done: (outcome: Outcome<unknown>) => {
      said = (outcome.value as Explanation).findings.map(({ weight, cause, broker }) => `${weight} ${cause} ${broker}`);
    },
  };
  explainDelivery.answerCall(call as never);
  return said;
}

test("a session that no broker knows is not there; that it was not let in is the reason then", () => {
  expect(explain([], [])).toEqual(["certain no session a", "possible no publisher a"]);
  expect(explain([], [{ cause: "connect refused" }])).toEqual([
    "certain no session a",
    "certain connect refused b",
    "possible no publisher a",
  ]);
  const connected = explain([{ cause: "session elsewhere", weight: "fact" }], [{ cause: "connect refused" }]);
  expect(connected).toContain("possible connect refused b");
});

test("whether there is a session is not known while a broker that may keep it has no contact with the store", () => {
  const told = explain([], [{ cause: "store", weight: "certain" }]);
  expect(told).toEqual(["certain store b", "possible no publisher a"]);
  expect(explain([], [{ cause: "store" }])).toContain("certain no session a");
});
