/** Request and response (MQTT 5, 4.10): a question with the topic on which its answer is awaited. */
import { OperatingError } from "../../src/base/errors.ts";
import { systemRandom } from "../../src/base/random.ts";
import type { MqttConnection } from "../../src/client/connection.ts";
import type { Message, PublishOptions } from "../../src/client/connection-options.ts";
import { describeReason, Reason } from "../../src/mqtt/reason.ts";

/** The CONNECT property that asks the broker for a response topic of one's own. */
export const asksForTopic = { requestResponseInformation: true } as const;

/** One question whose answer is awaited. */
export class Request {
  readonly #correlation = Buffer.from(systemRandom.hex(8));
  readonly #answer = Promise.withResolvers<Message>();

  /** Takes the messages of the client's `onMessage`. */
  readonly receive = (message: Message): void => {
    const { correlationData } = message.properties ?? {};
    if (correlationData !== undefined && this.#correlation.equals(correlationData)) this.#answer.resolve(message);
  };

  /**
   * Resolves with the answer. Rejects with `OperatingError` if the topic or the question is refused, or nobody is there
   * to answer.
   */
  async ask(
    client: MqttConnection,
    topic: string,
    question: Uint8Array | string,
    options: PublishOptions,
  ): Promise<Message> {
    const responseTopic = `${client.granted.responseInformation ?? "response/"}${systemRandom.hex(8)}`;
    const [granted = 0x80] = await client.subscribe([responseTopic], { qos: options.qos ?? 0 });
    if (granted >= Reason.unspecifiedError)
      throw new OperatingError("EREFUSED", `the broker refused ${responseTopic}: ${describeReason(granted)}`);
    const properties = { ...options.properties, responseTopic, correlationData: this.#correlation };
    const reason = await client.publish(topic, question, { ...options, properties });
    if (reason >= Reason.unspecifiedError)
      throw new OperatingError("EREFUSED", `the broker refused the request: ${describeReason(reason)}`);
    if (reason === Reason.noMatchingSubscribers)
      throw new OperatingError("ENOBODY", `nobody is subscribed to ${topic}: there is nobody to answer`);
    return this.#answer.promise;
  }
}

/** Lets a command of the shell answer a request: the payload on its standard input, the topic in MQTT_TOPIC. */
export async function respond(client: MqttConnection, command: string, message: Message): Promise<void> {
  const { responseTopic, correlationData } = message.properties ?? {};
  if (responseTopic === undefined) return;
  const child = Bun.spawn(["sh", "-c", command], {
    stdin: Buffer.from(message.payload),
    stdout: "pipe",
    stderr: "inherit",
    env: { ...process.env, MQTT_TOPIC: message.topic },
  });
  const answer = await new Response(child.stdout).bytes();
  const properties = correlationData === undefined ? {} : { correlationData };
  await client.publish(responseTopic, answer, { qos: message.qos, properties });
}
