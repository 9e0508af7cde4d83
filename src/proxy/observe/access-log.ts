/**
 * Access log: one JSON object a line, its fields named as Envoy's (and so Consul's) default format. No header is
 * told but the request id and the user agent, and no query, so no secret is. Only ASCII comes out, everything else
 * is escaped: whatever a client sends, a line stays a line and does nothing to a terminal. Pure.
 */
import { flagText } from './flags.ts';
import type { Observation } from './observation.ts';
import { noGrpcStatus } from './outcomes.ts';

/** `startedAtMs` is the wall clock's, since the Unix epoch. */
export function accessLogLine(observation: Observation, startedAtMs: number): string {
  const { counter, head, trace, rule } = observation;
  const line = {
    start_time: new Date(startedAtMs).toISOString(),
    reporter: counter.reporter,
    source: counter.source,
    destination: counter.destination,
    route_name: counter.route,
    protocol: observation.protocol,
    method: head?.method,
    authority: head?.authority,
    path: head?.path,
    response_code: observation.status,
    response_flags: flagText(observation.flags),
    response_code_details: observation.detail === '' ? undefined : observation.detail,
    grpc_status: observation.grpcStatus === noGrpcStatus ? undefined : observation.grpcStatus,
    rule: rule ?? undefined,
    duration: Math.round(observation.durationMs * 1000) / 1000,
    bytes_received: observation.requestBytes,
    bytes_sent: observation.responseBytes,
    upstream_host: observation.upstream,
    upstream_request_attempt_count: observation.attempts,
    request_id: head?.requestId,
    user_agent: head === null || head.userAgent === '' ? undefined : head.userAgent,
    trace_id: trace?.traceId,
  };
  return `${asciiJson(line)}\n`;
}

/** JSON in printable ASCII alone. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[^ -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
