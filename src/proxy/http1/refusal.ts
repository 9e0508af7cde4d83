/** The answers the proxy gives itself, when it will not or cannot forward. */
import type { RefusalReason } from '../dataplane.ts';

/** Why a request is not forwarded, and what the caller is told. */
export class Refusal {
  readonly status: number;
  readonly reason: RefusalReason;
  /** One line for a person, such as `starling: denied: web -> api (rule service-intentions/api)`. */
  readonly text: string;
  /** The rule that denied, for the counters; null for every other reason. */
  readonly rule: string | null;
  /** After how long it may be asked again, whole seconds; 0 says nothing. */
  readonly retryAfterSeconds: number;

  constructor(
    status: number,
    reason: RefusalReason,
    detail: string,
    rule: string | null = null,
    retryAfterSeconds = 0,
  ) {
    this.status = status;
    this.reason = reason;
    this.text = `starling: ${reason}: ${detail}`.replaceAll(/[\r\n]/g, ' ');
    this.rule = rule;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

const statusTexts: Readonly<{ [status: number]: string }> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  409: 'Conflict',
  414: 'URI Too Long',
  417: 'Expectation Failed',
  418: "I'm a teapot",
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};

/** What of the request decides on the form of its refusal. */
export interface RefusedRequest {
  /** Whether the connection goes on. */
  readonly keepAlive: boolean;
  readonly isHeadRequest: boolean;
  /** gRPC has statuses of its own, and clients that read nothing else. */
  readonly isGrpc: boolean;
}

/** The whole response. `x-starling-reason` carries the stable code for programs. */
export function refusalResponse(refusal: Refusal, request: RefusedRequest): Buffer {
  const body = request.isGrpc ? '' : `${refusal.text}\n`;
  const head = request.isGrpc ? grpcHead(refusal) : httpHead(refusal);
  head.push(`content-length: ${Buffer.byteLength(body)}`, `x-starling-reason: ${refusal.reason}`);
  if (refusal.retryAfterSeconds > 0) head.push(`retry-after: ${refusal.retryAfterSeconds}`);
  if (!request.keepAlive) head.push('connection: close');
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${request.isHeadRequest ? '' : body}`);
}

function httpHead({ status }: Refusal): string[] {
  const head = [
    `HTTP/1.1 ${status} ${statusTexts[status] ?? 'Error'}`,
    'content-type: text/plain; charset=utf-8',
  ];
  if (status === 405) head.push('allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS');
  return head;
}

/** A trailers-only answer, its trailers in the head (gRPC over HTTP2, "Responses"). */
function grpcHead(refusal: Refusal): string[] {
  return [
    'HTTP/1.1 200 OK',
    'content-type: application/grpc',
    `grpc-status: ${grpcStatusOf(refusal)}`,
    `grpc-message: ${percentEncoded(refusal.text)}`,
  ];
}

/** As gRPC maps HTTP's statuses, but for two of which more is known than the status says. */
export function grpcStatusOf({ status, reason }: Refusal): number {
  if (reason === 'timeout' && status === 504) return 4;
  if (reason === 'rate-limited') return 8;
  switch (status) {
    case 400:
    case 431:
      return 13;
    case 401:
      return 16;
    case 403:
      return 7;
    case 404:
      return 12;
    case 429:
    case 502:
    case 503:
    case 504:
      return 14;
    default:
      return 2;
  }
}

/** The form of `grpc-message`: visible ASCII without `%`; the rest escaped byte by byte. */
function percentEncoded(text: string): string {
  return Buffer.from(text)
    .toString('latin1')
    .replaceAll(/[^ -~]|%/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`);
}
