/** The client of MQTT-SN as its deliveries see it. */
import type { Recipient } from "./deliveries.ts";
import type { DeviceContext, Named } from "./device-context.ts";
import type { TopicIds } from "./topic-ids.ts";

/** Returns the recipient that a client is; `ways` are what its deliveries bring about. */
export function recipientOf<Owner>(
  device: Named & { readonly topics: TopicIds },
  { retryMs, datagramBytesMax, metrics, predefined, tooLarge }: DeviceContext<Owner>,
  ways: Pick<Recipient, "acknowledge" | "mailWaits" | "unanswered" | "idle">,
): Recipient {
  return {
    ...{ retryMs, datagramBytesMax, metrics, ...ways },
    get peer() {
      return device.peer;
    },
    get topics() {
      return device.topics;
    },
    predefinedId: (topic) => predefined.find(device.clientId, topic)?.id,
    tooLarge: (topic, size) => tooLarge(device, topic, size),
  };
}
