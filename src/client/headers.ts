/** Headers of a WebSocket's request, as an application gives them. */
import { checkText, shownValue } from "./checks.ts";

/** Throws a `TypeError` for what cannot stand in a request of HTTP. */
export function checkHeaders(headers: unknown): asserts headers is Readonly<Record<string, string>> {
  if (typeof headers !== "object" || headers === null || Array.isArray(headers))
    throw new TypeError(
      `webSocket.headers must be an object, or a function that returns one, not ${shownValue(headers)}`,
    );
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[-!#$%&'*+.^_`|~\w]+$/.test(name)) throw new TypeError(`${shownValue(name)} is no name of a header`);
    checkText(`the header ${name}`, value);
    if (/[\r\n]/.test(value)) throw new TypeError(`the header ${name} must be one line`);
  }
}
