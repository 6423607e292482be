/** Many filters subscribed at once: 500 in a packet, clients in turn. */
import { eventually } from "../support/broker.ts";
import type { RawClient } from "../support/raw-client.ts";

const filtersInPacket = 500;

export function filterOf(number: number): string {
  return `site/${Math.floor(number / filtersInPacket)}/${number % filtersInPacket}/+`;
}

/**
 * Returns filters per second, from the first packet to the last acknowledgement. `nameOf`: the filter of each number.
 */
export async function subscribeStorm(
  clients: readonly RawClient[],
  filters: number,
  nameOf: (number: number) => string = filterOf,
): Promise<number> {
  const startedAt = performance.now();
  const packets = Math.ceil(filters / filtersInPacket);
  for (let packet = 0; packet < packets; packet++) {
    const subscriptions = Array.from({ length: filtersInPacket }, (_, at) => ({
      topic: nameOf(packet * filtersInPacket + at),
      qos: 0,
    }));
    clients[packet % clients.length]!.send({ cmd: "subscribe", messageId: packet + 1, subscriptions });
  }
  const acknowledged = (): number =>
    clients.reduce((sum, client) => sum + client.packets.filter(({ cmd }) => cmd === "suback").length, 0);
  await eventually(() => acknowledged() === packets, "all subscriptions are acknowledged", 600_000);
  const perSecond = filters / ((performance.now() - startedAt) / 1000);
  for (const client of clients) client.packets.splice(0);
  return perSecond;
}
