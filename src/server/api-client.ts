/** The other side of the API, for tools: over HTTP, or over the socket of a broker that runs alone. */
import { join } from "node:path";
import { apiPatienceMs, peerAnswerBytesMax } from "../base/api-limits.ts";
import { messageOf, OperatingError } from "../base/errors.ts";
import { askHttp, openHttp, type Reply } from "../net/http.ts";
import { isThere, readSecret, readText } from "./operator-files.ts";

/** The broker that is asked: by the URL of its HTTP port, or by its data folder. */
export interface ApiPlace {
  /** The URL, maybe with a user and a password. */
  readonly api?: string | undefined;
  /** File with those who may have signed the certificate of an https:// URL; undefined: whom this machine trusts. */
  readonly cafile?: string | undefined;
  /** File with a bearer token, for the URL. */
  readonly tokenFile?: string | undefined;
  readonly data?: string | undefined;
}

/** Returns the path of the API's socket in a data folder. */
export function apiSocketPath(folder: string): string {
  return join(folder, "api.sock");
}

/**
 * Asks the API; `path` is below /api/v1, `body` is sent as JSON. Rejects with `OperatingError`, in the words of the
 * broker if it has any.
 */
export async function askApi(place: ApiPlace, method: string, path: string, body?: object): Promise<unknown> {
  const where = whereOf(place);
  const tls = place.cafile === undefined ? {} : { tls: { ca: readText(place.cafile) } };
  const sent =
    body === undefined
      ? { headers: where.headers }
      : { headers: { ...where.headers, "content-type": "application/json" }, body: JSON.stringify(body) };
  const init = { method, ...sent, ...(where.unix === undefined ? tls : { unix: where.unix }) };
  let why = "";
  const failed = (words: string): void => {
    why = words;
  };
  const how = { ms: 2 * apiPatienceMs, bytesMax: peerAnswerBytesMax, init, failed };
  const reply = await askHttp(`${where.base}/api/v1${path}`, how);
  if (reply === undefined && /certificate|altnames/i.test(why))
    throw new OperatingError("EFAILED", `${where.shown}: ${why}; --cafile names who has signed it`);
  if (reply === undefined) throw new OperatingError("EFAILED", `no answer from ${where.shown}: does the broker run?`);
  return valueOfReply(reply, where.shown);
}

/**
 * Listens to an answer of the API that goes on; `told` is called with the data of each event. Resolves with the reason
 * of the broker's why there is no more; rejects with `OperatingError`. `signal`: ends it.
 */
export async function listenApi(
  place: ApiPlace,
  path: string,
  { told, signal }: { readonly told: (event: string, data: string) => void; readonly signal: AbortSignal },
): Promise<string> {
  const where = whereOf(place);
  const tls = place.cafile === undefined ? {} : { tls: { ca: readText(place.cafile) } };
  const init = { headers: where.headers, signal, ...(where.unix === undefined ? tls : { unix: where.unix }) };
  const lost = (error: unknown): never => {
    throw new OperatingError("EFAILED", `${where.shown}: ${messageOf(error)}: does the broker run?`);
  };
  const reply = await openHttp(`${where.base}/api/v1${path}`, init).catch(lost);
  let text = "";
  let reason = "the broker has closed";
  try {
    for await (const part of reply.texts) {
      text += part;
      if (reply.status !== 200) continue;
      const blocks = text.split("\n\n");
      text = blocks.pop()!;
      for (const block of blocks) {
        const [, event, data] = /^event: (.*)\ndata: (.*)$/m.exec(block) ?? [];
        if (event === "end") ({ reason } = JSON.parse(data!) as { reason: string });
        else if (event !== undefined) told(event, data!);
      }
    }
  } catch (error) {
    if (!signal.aborted) lost(error);
  }
  if (reply.status !== 200) valueOfReply({ status: reply.status, body: text }, where.shown);
  return reason;
}

interface Where {
  readonly base: string;
  readonly headers: Record<string, string>;
  readonly unix: string | undefined;
  /** The place without its password. */
  readonly shown: string;
}

function whereOf({ api, tokenFile, data = "mqttzoo-data" }: ApiPlace): Where {
  if (api === undefined) {
    const unix = apiSocketPath(data);
    if (!isThere(unix))
      throw new OperatingError("EUSAGE", `no broker runs alone on ${data}: name its --data, or --api http://HOST:PORT`);
    return { base: "http://localhost", headers: {}, unix, shown: unix };
  }
  const url = new URL(api);
  const { username, password } = url;
  url.username = url.password = "";
  const token = readSecret(tokenFile ?? "");
  const basic = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64");
  const headers: Record<string, string> =
    token !== undefined
      ? { authorization: `Bearer ${token}` }
      : username === ""
        ? {}
        : { authorization: `Basic ${basic}` };
  return { base: url.origin, headers, unix: undefined, shown: url.origin };
}

/** Returns what was answered. Throws `OperatingError` for a problem. */
function valueOfReply({ status, body }: Reply, shown: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    throw new OperatingError(
      "EFAILED",
      `${shown} does not answer as an API does (${status}): is it a broker's --http-port?`,
    );
  }
  if (status === 200) return value;
  const { detail } = value as { detail?: unknown };
  throw new OperatingError("EFAILED", typeof detail === "string" ? detail : `${shown} has answered ${status}`);
}
