/** The list of who is banned for good: what its lines mean, and how it is changed. */
import { expect, test } from "bun:test";
import { BanList, whyNoEntry, withEntry, withoutEntry } from "../../src/access/ban-list.ts";
import { Bans } from "../../src/access/bans.ts";

const text = "# for good\naddress 203.0.113.0/24\naddress ::ffff:198.51.100.7\n\nuser eve the spy\nclient dev-1\n";
const one = (address: string, username?: string, clientId?: string) => ({ address, username, clientId });

test("addresses, users and clients, each by its own kind", () => {
  const list = new BanList(text);
  const is = (...of: Parameters<typeof one>): boolean => list.holds(one(...of));
  expect([is("203.0.113.9"), is("::ffff:203.0.113.9"), is("198.51.100.7"), is("203.0.114.1")]).toEqual([
    ...[true, true, true, false],
  ]);
  expect([is("", "eve the spy"), is("", "eve"), is("", "dev-1")]).toEqual([true, false, false]);
  expect([is("", "x", "dev-1"), is("", "x", "eve the spy"), is("", undefined, undefined)]).toEqual([
    true,
    false,
    false,
  ]);
  expect(() => new BanList("users eve")).toThrow("line 1");
  expect(() => new BanList("\naddress 300.1.1.1")).toThrow("line 2");
  expect(() => new BanList("user")).toThrow("line 1");
});

test("an entry is added once, and removed however it is written; everything else stays as it is", () => {
  const added = withEntry(text, { kind: "user", name: "mallory" });
  expect(added).toBe(`${text}user mallory\n`);
  expect(withEntry(added, { kind: "user", name: "mallory" })).toBe(added);
  expect(withEntry("user a", { kind: "client", name: "a" })).toBe("user a\nclient a\n");
  expect(withoutEntry(added, { kind: "user", name: "mallory" })).toBe(text);
  expect(withoutEntry(text, { kind: "address", name: "198.51.100.7" })).toBe(
    text.replace("address ::ffff:198.51.100.7\n", ""),
  );
  expect(withoutEntry(text, { kind: "client", name: "eve the spy" })).toBeUndefined();
  for (const name of ["", " a", "a\nuser b", "a\u0085"])
    expect(whyNoEntry({ kind: "user", name })).toContain("must not");
  expect(whyNoEntry({ kind: "address", name: "x" })).toContain("no range");
});

test("no login lifts it, and where the user has been before does not count", () => {
  const bans = new Bans({ failures: 0, ms: 1000 });
  bans.succeeded({ address: "192.0.2.1", username: "eve the spy" });
  bans.useList(new BanList(text));
  expect(bans.isBanned({ address: "192.0.2.1", username: "eve the spy" }, 0)).toBe(true);
  expect(bans.isAddressBanned("203.0.113.1", 0)).toBe(true);
  expect(bans.lift("user", "eve the spy")).toBe(false);
});
