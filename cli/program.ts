/** The program: all its commands under one name, with the help that shows them. */
import { Command } from "commander";
import { version } from "../src/broker/core/version.ts";
import { aclCommand } from "./acl.ts";
import { bankCommand } from "./bank.ts";
import { benchCommand, benchWorkerCommand } from "./bench.ts";
import { brokerCommand } from "./broker.ts";
import { clientsCommand } from "./clients.ts";
import { completeCommand, completionCommand } from "./completion.ts";
import { doctorCommand } from "./doctor.ts";
import { explainCommand } from "./explain.ts";
import { healthCommand } from "./health.ts";
import { importCommand } from "./import.ts";
import { manCommand } from "./man.ts";
import { addColourOption } from "./output/colours.ts";
import { passwdCommand } from "./passwd.ts";
import { profileCommand } from "./profile.ts";
import { pubCommand } from "./pub.ts";
import { recordCommand } from "./record.ts";
import { repairCommand } from "./repair.ts";
import { replayCommand } from "./replay.ts";
import { retainedCommand } from "./retained.ts";
import { showCommand } from "./show.ts";
import { simulateCommand } from "./simulate.ts";
import { subCommand } from "./sub.ts";
import { topCommand } from "./top.ts";
import { topicsCommand } from "./topics.ts";
import { traceCommand } from "./trace.ts";

/** Makes the program; its help, manual pages and completion are made of the same definition. */
export function makeProgram(): Command {
  const program = new Command("mqttzoo")
    .description("An MQTT broker that never loses an acknowledged message, and its clients.")
    .version(version, "--version", "print the version")
    .helpOption("--help", "print this help")
    .helpCommand(false)
    // What stands behind a command belongs to it, also where the command above has an option of that name.
    .enablePositionalOptions()
    .addHelpText(
      "after",
      `
Examples:
  mqttzoo broker                                   start a broker on port 1883
  mqttzoo sub -t 'home/#' -v                       print what is published below home
  mqttzoo pub -t home/kitchen/temp -m 21.5 -q 1    publish one message
  mqttzoo record session.jsonl -t 'home/#'         keep messages in a file, with times; mqttzoo replay publishes them
  mqttzoo simulate devices.yaml --duration 10m     devices that a YAML file describes
  mqttzoo top                                      watch how much comes and goes, and on which topics
  mqttzoo bench e2e -c 10 -I 0                     how much goes through
  mqttzoo doctor broker.example.org                what any broker can do, and what is wrong
  mqttzoo profile add home -h broker.example.org   keep a connection under a name, for --profile home
  mqttzoo clients list                             print who is connected
  mqttzoo explain --client sensor-7 --topic home/set   why it does not get that
  mqttzoo trace --client sensor-7                  follow what happens to a client
  mqttzoo topics list home --depth 2               print which topics there are
  mqttzoo show brokers --zk zk1:2181               print who is in a cluster
  mqttzoo bank balance                             print what may still be stored
  mqttzoo retained list --user alice               print what a user has retained
  mqttzoo acl check alice home/temp write --acl-file acl   may she, and by which rule
  mqttzoo import /etc/mosquitto/mosquitto.conf     come from mosquitto with what is set there
  mqttzoo repair --data mqttzoo-data               keep what is whole of a damaged store
  mqttzoo health --http-port 8080                  ask a broker how it is

mqttzoo COMMAND --help tells more.`,
    );
  program.addCommand(brokerCommand()).addCommand(pubCommand()).addCommand(subCommand()).addCommand(showCommand());
  program.addCommand(benchCommand()).addCommand(benchWorkerCommand(), { hidden: true }).addCommand(doctorCommand());
  program
    .addCommand(recordCommand())
    .addCommand(replayCommand())
    .addCommand(simulateCommand())
    .addCommand(topCommand());
  program.addCommand(bankCommand()).addCommand(healthCommand()).addCommand(passwdCommand()).addCommand(repairCommand());
  program.addCommand(clientsCommand()).addCommand(topicsCommand()).addCommand(retainedCommand());
  program.addCommand(aclCommand()).addCommand(explainCommand()).addCommand(traceCommand());
  program.addCommand(importCommand()).addCommand(profileCommand());
  addColourOption(program);
  program.addCommand(completionCommand()).addCommand(completeCommand(program), { hidden: true });
  program.addCommand(manCommand(program), { hidden: true });
  return program;
}
