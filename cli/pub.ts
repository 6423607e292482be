/** `mqttzoo pub`: publishes one message. */
import { Command } from "commander";
import { OperatingError } from "../src/base/errors.ts";
import { connect } from "../src/client/client.ts";
import { describeReason, Reason } from "../src/mqtt/reason.ts";
import { isTopicName } from "../src/mqtt/topic.ts";
import { addConnectionOptions, type ConnectionFlags, toClientOptions } from "./connection-options.ts";

interface PubFlags extends ConnectionFlags {
  readonly topic: string;
  readonly message?: string;
  readonly nullMessage?: boolean;
  readonly retain?: boolean;
}

export function pubCommand(): Command {
  return addConnectionOptions(new Command("pub").description("Publish a message."))
    .requiredOption("-t, --topic <TOPIC>", "topic to publish to")
    .option("-m, --message <TEXT>", "message")
    .option("-n, --null-message", "publish an empty message")
    .option("-r, --retain", "have the broker keep it for later subscribers")
    .addHelpText(
      "after",
      `
Ends with 0 when the broker has taken the message over, with its reason code when it has refused it.

Examples:
  mqttzoo pub -t home/kitchen/temp -m 21.5
  mqttzoo pub -h broker.example.org -t home/door -m open -q 2 -r
  mqttzoo pub -t home/door -n -r                   clear the retained message`,
    )
    .action(run);
}

async function run(flags: PubFlags): Promise<void> {
  if (flags.message === undefined && flags.nullMessage !== true) {
    throw new OperatingError("EUSAGE", "nothing to publish: give the message with -m, or -n for an empty one");
  }
  if (!isTopicName(flags.topic)) {
    throw new OperatingError(
      "EUSAGE",
      `${JSON.stringify(flags.topic)} is not a topic: it must not be empty nor hold + or #`,
    );
  }
  const client = await connect(toClientOptions(flags));
  const reason = await client.publish(flags.topic, flags.message ?? "", {
    qos: flags.qos,
    retain: flags.retain === true,
  });
  client.disconnect();
  if (reason < Reason.unspecifiedError) return;
  process.stderr.write(`mqttzoo: the broker refused the message: ${describeReason(reason)}\n`);
  process.exitCode = reason;
}
