/** Requests that cannot be answered as they are: told as RFC 9457 has it, `application/problem+json`. */

/** The statuses of problems, in words. */
const titles = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  429: "Too Many Requests",
  503: "Service Unavailable",
  504: "Gateway Timeout",
} as const;
export type ProblemStatus = keyof typeof titles;

/** A problem: its status, and what is wrong and what to do, in words. */
export class Problem {
  readonly status: ProblemStatus;
  readonly detail: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: ProblemStatus, detail: string, headers: Readonly<Record<string, string>> = {}) {
    this.status = status;
    this.detail = detail;
    this.headers = headers;
  }

  get title(): string {
    return titles[this.status];
  }
}
