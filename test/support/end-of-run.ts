/** Runs beside all tests (`bunfig.toml`): kills what failed tests have left when the last one is over. */
import { afterAll } from "bun:test";
import { endChildren } from "./children.ts";

afterAll(endChildren);
