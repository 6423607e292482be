/** HAProxy and nginx (Debian's) before our brokers, with what k8s/README.md says, word for word but for addresses. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqtt from "mqtt";
import { freePort, untilListening } from "../bench/brokers.ts";
import { eventually, startBroker, type TestBroker } from "../support/broker.ts";
import { type Authority, makeAuthority } from "../support/certificates.ts";
import { killedAtExit } from "../support/children.ts";
import { RawClient } from "../support/raw-client.ts";

const readme = readFileSync(join(import.meta.dir, "../../k8s/README.md"), "utf8");
const folder = mkdtempSync(join(tmpdir(), "mqttzoo-balancers-"));
const path = { PATH: `${process.env.PATH}:/usr/sbin` };
let authority: Authority;
beforeAll(() => {
  authority = makeAuthority();
  chmodSync(folder, 0o755);
});
afterAll(() => {
  authority.remove();
  rmSync(folder, { recursive: true, force: true });
});

/** The block of code of that page in a language, with other words in place of some; each of them must be there. */
function pageOf(language: string, others: Readonly<Record<string, string>>): string {
  let page = readme.split(`\`\`\`${language}\n`)[1]!.split("```")[0]!;
  for (const [words, instead] of Object.entries(others)) {
    expect(page).toContain(words);
    page = page.replaceAll(words, instead);
  }
  return page;
}

/** Asks at a Unix socket; returns all that is answered. */
async function ask(unix: string, question: string): Promise<string> {
  let told = "";
  const { promise, resolve } = Promise.withResolvers<string>();
  const handlers = {
    open: (socket: Bun.Socket) => void socket.write(question),
    data(_: Bun.Socket, bytes: Buffer) {
      told += bytes.toString();
    },
    close: () => resolve(told),
  };
  await Bun.connect({ unix, socket: handlers });
  return promise;
}

/** Runs a balancer until the returned function is called. */
function run(command: readonly string[]): () => Promise<unknown> {
  const env = { ...process.env, ...path };
  const child = killedAtExit(Bun.spawn([...command], { stdin: "ignore", stdout: "ignore", stderr: "inherit", env }));
  return () => {
    child.kill("SIGTERM");
    return child.exited;
  };
}

const behind = async (): Promise<TestBroker & { readonly httpPort: number }> => {
  const httpPort = await freePort();
  const broker = await startBroker({ proxyProtocol: true, httpHost: "127.0.0.1", httpPort });
  return { ...broker, httpPort };
};

const clientsOf = (broker: TestBroker): string[] => [...broker.server.broker.context.localSessions.keys()];

test("HAProxy finds both brokers ready, shares clients among them, and leaves the one that is gone", async () => {
  const [a, b] = [await behind(), await behind()];
  const port = await freePort();
  const config = join(folder, "haproxy.cfg");
  const page = pageOf("haproxy", {
    "bind :1883": `bind 127.0.0.1:${port}`,
    "a.example.org:1883": `127.0.0.1:${a.port} port ${a.httpPort}`,
    "b.example.org:1883": `127.0.0.1:${b.port} port ${b.httpPort}`,
  });
  const socket = join(folder, "haproxy.sock");
  writeFileSync(config, `global\n  stats socket ${socket}\n${page}`);
  const tell = (): Promise<string> => ask(socket, "show stat\n");
  const end = run(["haproxy", "-db", "-q", "-f", config]);
  await untilListening(port);
  const clients = await Promise.all(["1", "2", "3", "4"].map((clientId) => RawClient.connect(port, { clientId })));
  expect([clientsOf(a).length, clientsOf(b).length]).toEqual([2, 2]);
  for (const [at, client] of clients.entries()) {
    const broker = [a, b].find((one) => clientsOf(one).includes(String(at + 1)))!;
    const { transport } = broker.server.broker.context.localSessions.get(String(at + 1))!.connection!;
    // HAProxy has told whose connection it is.
    expect(transport.remote).toBe(`127.0.0.1:${client.localPort}`);
  }
  const bothAsked = /^brokers,a,.*,UP,.*,L7OK,200,.*^brokers,b,.*,UP,.*,L7OK,200,/ms;
  await eventually(async () => bothAsked.test(await tell()), "it has found both ready");
  await a.stop();
  await eventually(async () => /^brokers,a,.*,DOWN,/m.test(await tell()), "it has noticed that one is gone");
  const last = await RawClient.connect(port, { clientId: "last" });
  expect(clientsOf(b)).toContain("last");
  for (const client of [...clients, last]) client.abort();
  await end();
  await b.stop();
}, 60_000);

test("nginx ends TLS and leaves out a broker that is gone, and passes on WebSocket", async () => {
  const [a, b] = [await behind(), await behind()];
  const c = await startBroker({ port: -1, wsPort: 0 });
  const [tls, web] = [await freePort(), await freePort()];
  const { cert, key } = authority.issue("server");
  const page = pageOf("nginx", {
    "listen 8883": `listen 127.0.0.1:${tls}`,
    "listen 9001": `listen 127.0.0.1:${web}`,
    "/etc/nginx/server.crt": cert,
    "/etc/nginx/server.key": key,
    "a.example.org:1883": `127.0.0.1:${a.port}`,
    "b.example.org:1883": `127.0.0.1:${b.port}`,
    "c.example.org:9001": `127.0.0.1:${c.server.ports.ws}`,
  });
  const config = join(folder, "nginx.conf");
  // Debian loads the module in a file of its own; the other lines keep all that nginx writes in the test's folder.
  const head = `load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nworker_processes 1;
pid ${folder}/nginx.pid;\nerror_log ${folder}/nginx.log;\nevents {}\n`;
  const kept = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (what) => `${what}_temp_path ${folder}/${what};`,
  );
  writeFileSync(config, head + page.replace("http {", `http {\n${kept.join("\n")}\naccess_log off;`));
  const end = run(["nginx", "-e", `${folder}/nginx.log`, "-c", config]);
  await Promise.all([untilListening(tls), untilListening(web)]);
  const overTls = { ca: readFileSync(authority.ca), reconnectPeriod: 0 };
  const connect = (url: string, clientId: string) => mqtt.connectAsync(url, { ...overTls, clientId });
  const clients = [await connect(`mqtts://localhost:${tls}`, "1"), await connect(`mqtts://localhost:${tls}`, "2")];
  expect([clientsOf(a).length, clientsOf(b).length]).toEqual([1, 1]);
  await a.stop();
  for (const id of ["3", "4", "5"]) clients.push(await connect(`mqtts://localhost:${tls}`, id));
  await eventually(() => ["3", "4", "5"].every((id) => clientsOf(b).includes(id)), "all go to the one that is there");
  clients.push(await connect(`ws://localhost:${web}/mqtt`, "web"));
  expect(clientsOf(c)).toEqual(["web"]);
  for (const client of clients) client.end(true);
  await end();
  await Promise.all([b.stop(), c.stop()]);
}, 60_000);
