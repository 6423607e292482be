/** An OpenTelemetry collector of the test's own: it takes OTLP over HTTP, in JSON, and keeps what it is sent. */
import { eventually } from "./broker.ts";

// biome-ignore lint/suspicious/noExplicitAny: OTLP's JSON, of which the tests look at a few fields.
type Json = any;

export interface CollectedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly attributes: Record<string, unknown>;
  /** The broker's id. */
  readonly broker: unknown;
  readonly milliseconds: number;
  readonly error: string | undefined;
}

export class Collector {
  readonly spans: CollectedSpan[] = [];
  readonly logs: { readonly body: string; readonly severity: string; readonly attributes: Record<string, unknown> }[] =
    [];
  /** The last report of each metric, by its name. */
  readonly metrics = new Map<string, Json>();
  readonly headers: Headers[] = [];
  requests = 0;
  #status: number | undefined = 200;
  readonly #server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 255,
    fetch: (request) => this.#take(request),
  });

  readonly url = `http://127.0.0.1:${this.#server.port}`;

  /** Has requests answered with this status from now on; undefined: not at all. */
  answer(status: number | undefined): void {
    this.#status = status;
  }

  close(): void {
    void this.#server.stop(true);
  }

  /** Waits until there are so many spans of a trace, and returns them in the order of their names. */
  async trace(traceId: string, count: number): Promise<CollectedSpan[]> {
    const found = (): CollectedSpan[] => this.spans.filter((span) => span.traceId === traceId);
    await eventually(() => found().length >= count, `${count} spans of a trace`);
    return found().sort((a, b) => a.name.localeCompare(b.name));
  }

  async #take(request: Request): Promise<Response> {
    this.requests++;
    this.headers.push(request.headers);
    if (this.#status === undefined) return new Promise(() => {});
    if (this.#status !== 200) return new Response("no", { status: this.#status });
    const body = (await request.json()) as Json;
    for (const { resource, scopeSpans } of body.resourceSpans ?? [])
      for (const { spans } of scopeSpans) for (const span of spans) this.spans.push(spanOf(span, resource));
    for (const { scopeLogs } of body.resourceLogs ?? [])
      for (const { logRecords } of scopeLogs)
        for (const { body: said, severityText, attributes } of logRecords)
          this.logs.push({ body: said.stringValue, severity: severityText, attributes: attributesOf(attributes) });
    for (const { scopeMetrics } of body.resourceMetrics ?? [])
      for (const { metrics } of scopeMetrics) for (const metric of metrics) this.metrics.set(metric.name, metric);
    return Response.json({});
  }
}

function spanOf(span: Json, resource: Json): CollectedSpan {
  const { name, traceId, spanId, parentSpanId, attributes, status } = span;
  return {
    ...{ name, traceId, spanId, parentSpanId },
    attributes: attributesOf(attributes),
    broker: attributesOf(resource.attributes)["service.instance.id"],
    milliseconds: Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6,
    error: status?.code === 2 ? status.message : undefined,
  };
}

function attributesOf(list: Json): Record<string, unknown> {
  return Object.fromEntries((list ?? []).map(({ key, value }: Json) => [key, Object.values(value)[0]]));
}
