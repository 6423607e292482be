/** A topic's retained message as a value: what it may be without a schema. */
import { expect, test } from "bun:test";
import { connect } from "../../src/client/for-bun.ts";
import { TestBroker } from "../../src/testing/test-broker.ts";

test("without a schema a state is text: whatever else would be stored as [object Object] is refused", async () => {
  const broker = new TestBroker();
  const client = await connect(broker.url);
  const state = client.state<unknown>("home/target");
  for (const value of ["warm", 21.5, true, 2n ** 63n]) {
    await state.set(value);
    expect(broker.retained("home/target")?.text).toBe(String(value));
  }
  for (const value of [{ celsius: 21 }, [21], null, undefined, () => 21, Symbol("21"), new Date()])
    await expect(state.set(value)).rejects.toThrow("give state() a schema for JSON");
  expect(broker.retained("home/target")?.text).toBe(String(2n ** 63n));
  await client.end();
});
