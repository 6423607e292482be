/** `mqttzoo acl`: tells what an access list allows, and by which of its lines, without a broker. */
import { Command, Option } from "commander";
import { Acl } from "../src/access/acl.ts";
import { type Decision, describeRule } from "../src/access/permissions.ts";
import { messageOf, OperatingError } from "../src/base/errors.ts";
import { finish } from "../src/base/slices.ts";
import { isOwnTopic, ownTopicWords } from "../src/broker/publish/own-topics.ts";
import { isTopicName, parseFilter } from "../src/mqtt/topic.ts";
import { readText } from "../src/server/operator-files.ts";
import { say, sayJson, sayPainted } from "./output/print.ts";

interface Flags {
  readonly aclFile?: string;
  readonly client?: string;
  readonly json?: boolean;
}

type Access = "read" | "write";

/** An answer: the decision, and what has decided, in words. */
interface Verdict extends Pick<Decision, "isAllowed"> {
  readonly by: string;
  readonly line: number | null;
}

export function aclCommand(): Command {
  const acl = new Command("acl")
    .description("The access list: what it allows to whom, and by which line.")
    .helpOption("--help", "print this help")
    .helpCommand(false);
  acl
    .command("check")
    .description("tell whether a user may read or write a topic, and which line of the access list says so")
    .helpOption("--help", "print this help")
    .argument("<USER>", "name of the user; '': clients without a user name")
    .argument("<TOPIC>", "the topic; with read also a topic filter, as in SUBSCRIBE")
    .argument("<ACCESS>", "read (subscribe, receive) or write (publish, wills)")
    .addOption(new Option("--acl-file <FILE>", "the brokers' access list").env("MQTTZOO_ACL_FILE"))
    .option("--client <ID>", "client id, for patterns with %c (default: such a pattern grants nothing)")
    .option("--json", "print one JSON object")
    .action(check);
  return acl.addHelpText(
    "after",
    `
The exit code of check is 0 for yes, 1 for no, and 2 if there is no answer: a file that cannot be read, or a topic that is
none. Rights that a token or a hook gives at a login count instead of the access list; they are not known here.

Examples:
  mqttzoo acl check alice home/kitchen/temp write --acl-file acl
  mqttzoo acl check '' public/news read --acl-file acl         a client without a user name
  mqttzoo acl check alice 'home/#' read --acl-file acl         may it subscribe to that
  mqttzoo acl check sensors up/sensor-7 write --client sensor-7 --acl-file acl --json`,
  );
}

function check(user: string, topic: string, access: string, flags: Flags): void {
  if (access !== "read" && access !== "write")
    throw new OperatingError("EUSAGE", `${JSON.stringify(access)} is neither read nor write`);
  const { aclFile: file = "", client } = flags;
  if (file === "") throw new OperatingError("EUSAGE", "name the brokers' access list: --acl-file FILE");
  const list = readList(file);
  const { isAllowed, by, line } = verdictOf(list, { user, topic, access, file, client });
  // Patterns with %c may say otherwise of a client that is named.
  const isOpen = list.looksAtClient && client === undefined;
  if (flags.json === true) {
    const asked = { user: user === "" ? null : user, client_id: client ?? null, topic, access };
    sayJson({ ...asked, allowed: isAllowed, file, line, by });
  } else {
    const who = user === "" ? "a client without a user name" : user;
    const said = [isAllowed ? "yes" : "no", isAllowed ? "green" : "red"] as const;
    sayPainted(said, `: ${who} may ${isAllowed ? "" : "not "}${access} ${topic}: ${by}`);
    if (isOpen) say("some patterns look at the client id (%c): name one with --client ID");
  }
  process.exitCode = isAllowed ? 0 : 1;
}

function readList(path: string): Acl {
  const text = readText(path);
  try {
    return finish(Acl.read(text));
  } catch (error) {
    throw new OperatingError("EUSAGE", `${path}: ${messageOf(error)}`);
  }
}

/** Decides as a broker does. Throws `OperatingError` for a topic that is none. */
function verdictOf(
  list: Acl,
  asked: {
    readonly user: string;
    readonly topic: string;
    readonly access: Access;
    readonly file: string;
    readonly client: string | undefined;
  },
): Verdict {
  const { user, topic, access, file, client = "" } = asked;
  const permissions = list.permissionsOf({ username: user === "" ? undefined : user, clientId: client });
  if (isTopicName(topic)) {
    if (access === "write" && isOwnTopic(topic)) return { isAllowed: false, by: ownTopicWords, line: null };
    return told(permissions.decide(topic, access), file);
  }
  const filter = parseFilter(topic);
  if (filter === undefined || access === "write")
    throw new OperatingError("EUSAGE", `${JSON.stringify(topic)} is no topic${access === "read" ? " filter" : ""}`);
  return told(permissions.decideSubscribe(filter.levels), file);
}

function told(decision: Decision, file: string): Verdict {
  const { isAllowed, rule } = decision;
  return { isAllowed, by: describeRule(decision, file), line: rule?.place?.line ?? null };
}
