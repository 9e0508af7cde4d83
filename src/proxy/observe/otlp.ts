/** Spans of this proxy as OpenTelemetry's protocol has them in JSON (OTLP 1.x, trace/v1, over HTTP). Pure. */
import { flagText } from './flags.ts';
import type { Observation } from './observation.ts';
import { classOf, noGrpcStatus } from './outcomes.ts';
import type { HopTrace } from './trace.ts';

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue: string } | { readonly intValue: string };
}

/** One span, as JSON; with the service that it is a span of. */
export interface Span {
  readonly service: string;
  readonly json: object;
}

const kindServer = 2;
const kindClient = 3;
const statusError = 2;

/** `startedAtMs` is the wall clock's, since the Unix epoch. Attributes are named by the semantic conventions. */
export function spanOf(observation: Observation, trace: HopTrace, startedAtMs: number): Span {
  const { counter, head, flags, grpcStatus, status } = observation;
  const isCaller = counter.reporter === 'source';
  const isError = classOf({ status, flags, grpcStatus }) === 5 || flags !== 0;
  const attributes = [
    attribute('starling.source', counter.source),
    attribute('starling.destination', counter.destination),
    attribute('http.response.status_code', status),
    attribute('starling.response_flags', flagText(flags)),
    ...(head === null
      ? []
      : [
          attribute('http.request.method', head.method),
          attribute('url.path', head.path),
          ...serverAttributes(head.authority),
          attribute('starling.request_id', head.requestId),
        ]),
    ...(observation.upstream === '' ? [] : [attribute('network.peer.name', observation.upstream)]),
    ...(observation.attempts > 1 ? [attribute('http.request.resend_count', observation.attempts - 1)] : []),
    ...(grpcStatus === noGrpcStatus ? [] : [attribute('rpc.grpc.status_code', grpcStatus)]),
    ...(observation.rule === null ? [] : [attribute('starling.rule', observation.rule)]),
  ];
  return {
    service: isCaller ? counter.source : counter.destination,
    json: {
      traceId: trace.traceId,
      spanId: trace.spanId,
      parentSpanId: trace.parentSpanId,
      name: isCaller
        ? `${counter.source} to ${counter.destination}`
        : `${head?.method ?? 'TCP'} at ${counter.destination}`,
      kind: isCaller ? kindClient : kindServer,
      startTimeUnixNano: nanoseconds(startedAtMs),
      endTimeUnixNano: nanoseconds(startedAtMs + observation.durationMs),
      attributes,
      status: isError ? { code: statusError, message: observation.detail } : {},
    },
  };
}

/** The host and the port that a client named, apart as the conventions have them; the port only where it said one. */
function serverAttributes(authority: string): Attribute[] {
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(authority) ?? [];
  const address = bracketed ?? plain ?? authority;
  if (address === '') return [];
  return [
    attribute('server.address', address),
    ...(port === undefined ? [] : [attribute('server.port', Number(port))]),
  ];
}

function attribute(key: string, value: string | number): Attribute {
  // 64-bit integers are strings in protobuf's JSON.
  return { key, value: typeof value === 'string' ? { stringValue: value } : { intValue: String(value) } };
}

function nanoseconds(milliseconds: number): string {
  return String(BigInt(Math.round(milliseconds * 1000)) * 1000n);
}

/** The body of one export: spans under the services that they are of. `host` is this host's name. */
export function exportBody(spans: readonly Span[], host: string): string {
  const byService = new Map<string, object[]>();
  for (const { service, json } of spans) {
    const known = byService.get(service);
    if (known === undefined) byService.set(service, [json]);
    else known.push(json);
  }
  const resourceSpans = [...byService].map(([service, all]) => ({
    resource: { attributes: [attribute('service.name', service), attribute('host.name', host)] },
    scopeSpans: [{ scope: { name: 'starling' }, spans: all }],
  }));
  return JSON.stringify({ resourceSpans });
}
