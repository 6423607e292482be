/** A mail drop that the operator opens while the broker runs: sessions and subscriptions have been there before. */
import { encodeUtf8 } from "../../src/base/bytes.ts";
import { dropPath } from "../../src/coordinator/paths.ts";
import { eventually, type TestBroker } from "./broker.ts";

/** Opens it as another broker of the cluster would; resolves once the broker knows of it. */
export async function openDrop(broker: TestBroker, filter: string): Promise<void> {
  const { coordinator, hasMailDrops } = broker.server.broker.context;
  const data = encodeUtf8(JSON.stringify({ isOpen: true }));
  const refused = await new Promise<unknown>((done) =>
    coordinator.write([{ kind: "create", path: dropPath(filter), data, mode: "persistent" }], done),
  );
  if (refused !== undefined) throw refused;
  await eventually(hasMailDrops, "the broker knows of the mail drop");
}
