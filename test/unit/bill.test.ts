/** Bills of znodes whose paths are used again. */
import { expect, test } from "bun:test";
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { Bill } from "../../src/broker/core/bill.ts";
import { Journal } from "../../src/mail/journal.ts";
import { room } from "../support/room.ts";

test("what a unit removes and makes anew is paid for, and what it only removes is not", () => {
  const { context, store } = room();
  const { account } = context.bankAccount;
  const journal = new Journal(store, context.clock, { removed: (path) => void account.freed(path) });
  const path = "/wills/here/device";
  const put = (credits: number) => {
    const bill = new Bill(account, { path, credits, payer: "", payment: account.reserve(credits) });
    return { kind: "put", path, data: encodeUtf8("will"), exists: false, after: bill.settle } as const;
  };
  journal.commit([put(70)]);
  expect(account.bound).toBe(70);
  journal.commit([{ kind: "remove", path }, put(90)]);
  expect([account.bound, store.textOf(path)]).toEqual([90, "will"]);
  journal.commit([{ kind: "remove", path }]);
  expect([account.bound, store.textOf(path)]).toEqual([0, undefined]);
});
