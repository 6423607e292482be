/** The room `connect`, whose wills may be in the store. */
import { expect, test } from "bun:test";
import { StoredWills } from "../../../src/broker/connect/stored-wills.ts";

test("a will that does not get into the store leaves the earlier one there", () => {
  const wills = new StoredWills();
  wills.put("first")();
  wills.put("back");
  const withdrawn = wills.put("back");
  withdrawn();
  expect(["first", "back"].map((id) => wills.has(id))).toEqual([false, true]);
});

test("the removal of an earlier will is not taken for that of a later one", () => {
  const wills = new StoredWills();
  wills.put("back");
  const gone = wills.removal("back");
  const withdrawn = wills.put("back");
  gone();
  expect(wills.has("back")).toBe(true);
  wills.put("back");
  withdrawn();
  expect(wills.has("back")).toBe(true);
  wills.removal("back")();
  expect(wills.has("back")).toBe(false);
});

test("what is left when a lease is over is known until the store is looked through, what comes later is not left", () => {
  const wills = new StoredWills();
  for (const id of ["here", "back"]) wills.put(id);
  wills.leave(["found", "here"]);
  wills.put("back");
  const known = () => ["here", "back", "found"].map((id) => [wills.has(id), wills.isLeft(id)]);
  expect(known()).toEqual([
    [true, true],
    [true, false],
    [true, true],
  ]);
  wills.found();
  expect(known()).toEqual([
    [false, false],
    [true, false],
    [false, false],
  ]);
});
