/**
 * Scripts written for mosquitto's clients: the same command lines through theirs and ours, output and exit code
 * compared.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBroker, type TestBroker } from "../support/broker.ts";
import { executable } from "../support/process.ts";

/** One for theirs, one for ours: so the topics are the same. */
let brokers: Record<"theirs" | "ours", TestBroker>;
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-scripts-"));
beforeAll(async () => {
  brokers = { theirs: await startBroker(), ours: await startBroker() };
  writeFileSync(join(folder, "payload"), "from\na file\0with anything");
});
afterAll(async () => {
  await Promise.all([brokers.theirs.stop(), brokers.ours.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

/** A script in which PUB and SUB stand for the clients, PORT for the broker's port; TOPIC is another one each time. */
async function run(script: string, number: number, whose: "theirs" | "ours"): Promise<{ out: string; code: number }> {
  const [pub, sub] =
    whose === "theirs" ? ["mosquitto_pub", "mosquitto_sub"] : [`${executable} pub`, `${executable} sub`];
  const words = {
    PUB: `${pub} -p ${brokers[whose].port}`,
    SUB: `${sub} -p ${brokers[whose].port}`,
    TOPIC: `topic/${number}`,
    FOLDER: folder,
    PORT: String(brokers[whose].port),
  };
  const text = script.replace(/\b(PUB|SUB|PORT|TOPIC|FOLDER)\b/g, (word) => words[word as keyof typeof words]);
  const child = Bun.spawn(["sh", "-c", text], {
    stdout: "pipe",
    stderr: "ignore",
    env: { ...process.env, TZ: "Asia/Kolkata" },
  });
  const out = await new Response(child.stdout).text();
  // What comes of when it was run, and by whom.
  const same = out.replace(/\d{4}-\d\d-\d\dT[\d:.]+/g, "TIME").replace(/"mid":\d+/g, '"mid":N');
  return { out: same, code: await child.exited };
}

const kept = (payload: string, more = ""): string => `PUB -t TOPIC ${payload} -r ${more}`;
/** Runs what writes into a file in the background, and waits until it has written something. */
const printing = (command: string, file: string): string =>
  `${command} FOLDER/${file}$$ & until [ -s FOLDER/${file}$$ ]; do sleep 0.05; done`;
const scripts: readonly [string, string][] = [
  ["-m, -r, -C", `${kept("-m hello")}; SUB -t TOPIC -C 1`],
  ["-v, several -t", `${kept("-m hello")}; SUB -t none -t TOPIC -C 1 -v`],
  ["-N", `${kept("-m hello")}; SUB -t TOPIC -C 1 -N; SUB -t TOPIC -C 1 -N -v`],
  ["-f", `${kept("-f FOLDER/payload")}; SUB -t TOPIC -C 1`],
  ["-s", `printf 'one\\ntwo' | ${kept("-s")}; SUB -t TOPIC -C 1`],
  ["-n clears", `${kept("-m x")}; ${kept("-n")}; SUB -t TOPIC -W 1; echo $?`],
  ["-W ends with 27", "SUB -t nothing/here -W 1"],
  ["-E", "SUB -t TOPIC -E; echo $?"],
  ["-R", `${kept("-m old")}; SUB -t TOPIC -R -W 1; echo $?`],
  [
    "--retained-only",
    `${kept("-m old")}; ${printing("SUB -t TOPIC --retained-only -v -W 5 >", "a")}; PUB -t TOPIC -m new;
     wait $!; echo $?; cat FOLDER/a$$`,
  ],
  ["--remove-retained", `${kept("-m old")}; SUB -t TOPIC --remove-retained -W 1; SUB -t TOPIC -W 1; echo $?`],
  ["-T", `${kept("-m one")}; PUB -t TOPIC/two -m two -r; SUB -t 'TOPIC/#' -T TOPIC -C 1 -v; PUB -t TOPIC/two -n -r`],
  [
    "-l, -q 1, -c keeps what comes meanwhile",
    "SUB -i keep-TOPIC -c -q 1 -t TOPIC -E; printf 'a\\nb\\n\\nc' | PUB -t TOPIC -l -q 1; SUB -i keep-TOPIC -c -q 1 -t TOPIC -C 3 -v; SUB -i keep-TOPIC -t x -E",
  ],
  [
    "--repeat",
    `${kept("-m there")}; ${printing("SUB -t TOPIC -C 4 -v | tee", "a")};
     PUB -t TOPIC -m again --repeat 3 --repeat-delay 0.1; wait`,
  ],
  ["-L", `PUB -L mqtt://localhost:PORT/TOPIC -m by-url -r; SUB -L mqtt://localhost:PORT/TOPIC -C 1 -v`],
  [
    "-F",
    `${kept("-m 12345")}; SUB -t TOPIC -C 1 -F '%t|%-30t|%30t|%.3t|%p|%8p|%-8p|%3p|%l|%06l|%q|%r|%x|%X|%4x|%%|@@|\\t|\\\\|%m'`,
  ],
  ["-F with time", `${kept("-m x")}; SUB -t TOPIC -C 1 -F '@Y @m @d @H @j @a @B @y @p @z %I'`],
  [
    "-F %j and %J",
    `${kept(`-m '{"a":[1,2.5,"ü"]}'`)}; SUB -t TOPIC -C 1 -F %j; SUB -t TOPIC -C 1 -F %J; SUB -t TOPIC -C 1 -F %J --pretty -N`,
  ],
  ["-F %j with quotes and no payload", `${kept(`-m 'say "hi" \\\\ there'`)}; SUB -t TOPIC -C 1 -F %j`],
  ["-F %J of what is no JSON", `${kept("-m nonsense")}; SUB -t TOPIC -C 1 -F '%J'; echo $?`],
  [
    "-D",
    `${kept("-m x", "-V mqttv5 -q 1 -D publish content-type text/plain -D publish user-property a b -D publish user-property a c -D publish response-topic back -D publish correlation-data id7 -D publish payload-format-indicator 1")}; SUB -V mqttv5 -t TOPIC -C 1 -F '%C|%P|%R|%D|%F|%E|%A|%S|%10C|%-10C|%3F|%3E|'`,
  ],
  [
    "-D publish message-expiry-interval",
    `${kept("-m x", "-V mqttv5 -q 1 -D publish message-expiry-interval 600")}; SUB -V mqttv5 -t TOPIC -C 1 -F '%E'`,
  ],
  [
    "-F of what is not there",
    `${kept("-m x", "-V mqttv5")}; SUB -V mqttv5 -t TOPIC -C 1 -F '|%C|%5C|%-5C|%E|%5E|%-5E|%05E|%A|%5A|%F|%2F|%02F|%R|%5R|%S|%4S|%D|%P|'`,
  ],
  [
    "-D of every packet",
    `SUB -V mqttv5 -t TOPIC -U other --will-topic TOPIC/will --will-payload w -E ${[
      "connect maximum-packet-size 0191",
      "connect receive-maximum 1000",
      "connect request-problem-information 1",
      "connect request-response-information 1",
      "connect session-expiry-interval 39",
      "connect topic-alias-maximum 123",
      "connect user-property connect up",
      "will content-type application/json",
      "will correlation-data some-data",
      "will message-expiry-interval 59",
      "will payload-format-indicator 1",
      "will response-topic /dev/null",
      "will user-property will up",
      "will will-delay-interval 100",
      "subscribe subscription-identifier 1",
      "subscribe user-property subscribe up",
      "unsubscribe user-property unsubscribe up",
      "disconnect reason-string reason",
      "disconnect session-expiry-interval 40",
      "disconnect user-property disconnect up",
    ]
      .map((words) => `-D ${words}`)
      .join(
        " ",
      )}; echo $?; ${kept("-m x", "-V mqttv5 -D publish topic-alias 4 -D publish response-topic back")}; SUB -V mqttv5 -t TOPIC -C 1 -F '%R %A %p'`,
  ],
  [
    "-D subscribe subscription-identifier",
    `${kept("-m x", "-V mqttv5")}; SUB -V mqttv5 -t TOPIC -C 1 -D subscribe subscription-identifier 42 -F '%S %4S %04S'`,
  ],
  [
    "%j with properties",
    `${kept("-m x", "-V mqttv5 -D publish content-type text/plain -D publish user-property a b")}; SUB -V mqttv5 -t TOPIC -q 1 -C 1 -F %j`,
  ],
  [
    "-U",
    "SUB -i gone-TOPIC -c -q 1 -t TOPIC -t TOPIC/b -E; SUB -i gone-TOPIC -c -U TOPIC -t none -E; PUB -t TOPIC -m lost -q 1; PUB -t TOPIC/b -m kept -q 1; SUB -i gone-TOPIC -c -t none -C 1 -v; SUB -i gone-TOPIC -t x -E",
  ],
  [
    "--will-*",
    `${kept("-m there")}; ${printing("SUB -t TOPIC -t TOPIC/will -C 2 -v | tee", "a")};
     ${printing("SUB -t TOPIC --will-topic TOPIC/will --will-payload died --will-qos 1 >", "b")}; kill -9 $!; wait`,
  ],
  ["-V 311, -V 31 names", `${kept("-m x", "-V mqttv311")}; SUB -V mqttv31 -t TOPIC -C 1 -i v31`],
  [
    "-I, -k, -q 2, --nodelay, --quiet",
    `${kept("-m x", "-I pre -k 5 -q 2 --nodelay --quiet")}; SUB -t TOPIC -q 2 -C 1 -I pre -k 5 --quiet`,
  ],
  ["a topic that is none", "PUB -t 'a/#' -m x; [ $? -ne 0 ] && echo failed; SUB -t 'a#b'; [ $? -ne 0 ] && echo failed"],
  ["nobody listens", "PUB -p 1 -t t -m x; [ $? -ne 0 ] && echo failed; SUB -p 1 -t t; [ $? -ne 0 ] && echo failed"],
];

test.each(scripts)(
  "%s",
  async (_, script) => {
    const number = scripts.findIndex(([, other]) => other === script);
    const [theirs, ours] = [await run(script, number, "theirs"), await run(script, number, "ours")];
    expect(ours).toEqual(theirs);
  },
  120_000,
);
