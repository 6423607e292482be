/**
 * Brings a store from format 0 to 1: names in which what is above U+FFFF stood as it is, which ZooKeeper refuses, are
 * encoded as all names are now. They are keys: a topic, or a session, would not be found under its name any more.
 */
import type { Database } from "bun:sqlite";
import { encodeAstral } from "../coordinator/paths.ts";

interface Key {
  readonly parent: string;
  readonly name: string;
}

/** Runs inside the caller's transaction. In UTF-8 such characters begin with F0 to F4, and no other does. */
export function encodeNames(db: Database): void {
  const parts = ["F0", "F1", "F2", "F3", "F4"].map((byte) => `instr(CAST(parent || name AS BLOB), x'${byte}') > 0`);
  const keys = db.query<Key, []>(`SELECT parent, name FROM node WHERE ${parts.join(" OR ")}`).all();
  const rename = db.query("UPDATE OR REPLACE node SET parent = ?, name = ? WHERE parent = ? AND name = ?");
  for (const { parent, name } of keys) rename.run(encodeAstral(parent), encodeAstral(name), parent, name);
}
