/** HTTP as old and odd programs speak it, byte by byte: each is answered in words, and none has to wait. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { httpBodyBytesMax, httpBodyMs } from "../../src/base/limits.ts";
import { freePort } from "../bench/brokers.ts";
import { startBroker, type TestBroker } from "../support/broker.ts";

let broker: TestBroker;
let httpPort: number;
beforeAll(async () => {
  httpPort = await freePort();
  broker = await startBroker({ httpPort, httpHost: "127.0.0.1" });
});
afterAll(() => broker.stop());

interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** Sends bytes, some at a time, and returns the answers until the server closes the connection. */
async function ask(...chunks: readonly string[]): Promise<Answer[]> {
  let got = "";
  const closed = Promise.withResolvers<void>();
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: httpPort,
    socket: {
      data(_, bytes) {
        got += bytes.toString("latin1");
      },
      close: () => closed.resolve(),
      error: () => closed.resolve(),
    },
  });
  for (const chunk of chunks) {
    socket.write(Buffer.from(chunk, "latin1"));
    socket.flush();
    if (chunks.length > 1) await Bun.sleep(20);
  }
  await closed.promise;
  return got
    .split(/(?=HTTP\/1\.1 \d{3} )/)
    .filter((text) => text !== "")
    .map((text) => {
      const end = text.indexOf("\r\n\r\n");
      return { status: Number(text.slice(9, 12)), head: text.slice(0, end).toLowerCase(), body: text.slice(end + 4) };
    });
}

/** Returns the only answer. */
async function one(...chunks: readonly string[]): Promise<Answer> {
  const answers = await ask(...chunks);
  expect(answers.length).toBe(1);
  return answers[0]!;
}

const last = "Connection: close\r\n\r\n";

describe("probes and monitors are answered", () => {
  test.each([
    ["HTTP/1.0 without Host, as HAProxy's httpchk asks", "GET /readyz HTTP/1.0\r\n\r\n"],
    ["HTTP/1.0 with Host", "GET /readyz HTTP/1.0\r\nHost: x\r\n\r\n"],
    ["HTTP/1.0 that would keep the connection", `GET /readyz HTTP/1.0\r\n${last}`],
    ["HTTP/1.0 with the URL of a proxy", "GET http://broker:8080/readyz HTTP/1.0\r\n\r\n"],
    ["HTTP/1.0 with dots, slashes and a query", "GET /a/.././readyz?x=//y HTTP/1.0\r\n\r\n"],
    ["an empty Host", `GET /readyz HTTP/1.1\r\nHost:\r\n${last}`],
    ["an address as Host", `GET /readyz HTTP/1.1\r\nHost: [::1]:8080\r\n${last}`],
    ["a name with an underscore as Host", `GET /readyz HTTP/1.1\r\nHost: my_broker:80\r\n${last}`],
    ["a whole URL", `GET http://broker/readyz?a HTTP/1.1\r\nHost: broker\r\n${last}`],
    ["a body that nobody reads", `GET /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n${last}abc`],
  ])("%s", async (_, request) => {
    const { status, body } = await one(request);
    expect([status, JSON.parse(body).ok]).toEqual([200, true]);
  });

  test("that only want the head get no more", async () => {
    for (const request of ["HEAD /livez HTTP/1.0\r\n\r\n", `HEAD /livez HTTP/1.1\r\nHost: x\r\n${last}`])
      expect(await one(request)).toMatchObject({ status: 200, body: "" });
    const { head } = await one("HEAD /metrics HTTP/1.0\r\n\r\n");
    expect(head).toContain("content-type: text/plain");
  });

  test("that only ask what may be asked, as HAProxy's httpchk does unless it is told otherwise", async () => {
    for (const path of ["/", "/readyz"]) {
      const { status, head, body } = await one(`OPTIONS ${path} HTTP/1.0\r\n\r\n`);
      expect([status, body]).toEqual([204, ""]);
      expect(head).toContain("allow: get, head, options");
    }
  });

  test("one after the other on a connection, sent at once or in pieces", async () => {
    const get = (path: string, more = "\r\n"): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}`;
    const several = await ask(get("/livez") + get("/nothing") + get("/readyz", last));
    expect(several.map(({ status }) => status)).toEqual([200, 404, 200]);
    const whole = get("/livez", last);
    expect((await one(whole.slice(0, 8), whole.slice(8, 30), whole.slice(30, -1), whole.slice(-1))).status).toBe(200);
  });
});

describe("a request that is none, or too much, is refused", () => {
  const host = `Host: x\r\n${last}`;
  test.each([
    ["HTTP/1.1 without Host", 400, `GET /livez HTTP/1.1\r\n${last}`],
    ["two Hosts", 400, `GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n${last}`],
    ["a Host that is none", 400, `GET /livez HTTP/1.1\r\nHost: a b\r\n${last}`],
    ["a Host that would be a path", 400, `GET /livez HTTP/1.1\r\nHost: x/metrics?\r\n${last}`],
    ["a Host that is none in HTTP/1.0", 400, "GET /livez HTTP/1.0\r\nHost: a@b\r\n\r\n"],
    ["no path", 400, `GET livez HTTP/1.1\r\n${host}`],
    ["*", 400, `OPTIONS * HTTP/1.1\r\n${host}`],
    ["the target of a tunnel", 400, `CONNECT x:80 HTTP/1.1\r\n${host}`],
    ["HTTP/2", 505, `GET /livez HTTP/2.0\r\n${host}`],
    ["no version", 505, "GET /livez\r\n\r\n"],
    ["MQTT", 400, "\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02ab\r\n\r\n"],
    ["a header without a name", 400, `GET /livez HTTP/1.1\r\n: x\r\n${host}`],
    ["a header that is too long", 431, `GET /livez HTTP/1.1\r\nA: ${"x".repeat(20_000)}\r\n${host}`],
    ["a target that is too long", 431, `GET /${"x".repeat(20_000)} HTTP/1.1\r\n${host}`],
    ["too many headers", 431, `GET /livez HTTP/1.1\r\n${"A: x\r\n".repeat(500)}${host}`],
    ["a length that is none", 400, `PUT /livez HTTP/1.1\r\nContent-Length: -1\r\n${host}`],
    [
      "two ways to tell the length",
      400,
      `PUT / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n${host}a`,
    ],
    ["a body that is too long", 413, `PUT /livez HTTP/1.1\r\nContent-Length: ${httpBodyBytesMax + 1}\r\n${host}`],
    ["a path that there is not", 404, `GET //livez HTTP/1.1\r\n${host}`],
    ["a path that there is not in HTTP/1.0", 404, "GET /%zz HTTP/1.0\r\n\r\n"],
    ["a path of slashes in HTTP/1.0", 404, "GET ///\\ HTTP/1.0\r\n\r\n"],
    ["a change without a token", 403, "PUT /log-level HTTP/1.0\r\nContent-Length: 0\r\n\r\n"],
  ])("%s", async (_, status, request) => {
    expect((await one(request)).status).toBe(status);
  });

  test.each(["POST", "TRACE"])("the method %s, with those that there are", async (method) => {
    const { status, head, body } = await one(`${method} /livez HTTP/1.0\r\nContent-Length: 0\r\n\r\n`);
    expect([status, body]).toEqual([405, "only GET, HEAD, OPTIONS\n"]);
    expect(head).toContain("allow: get, head, options");
  });

  test("in words, where it is this broker that refuses it", async () => {
    const { body } = await one(`GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n${last}`);
    expect(body).toBe("Host is malformed, or there are two\n");
  });

  test("a body that does not come, after a while", async () => {
    const { status, body } = await one("PUT /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
    expect([status, body]).toEqual([408, `the body has not come within ${httpBodyMs / 1000} s\n`]);
  }, 60_000);
});
