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

  constructor(status: number, reason: RefusalReason, detail: string, rule: string | null = null) {
    this.status = status;
    this.reason = reason;
    this.text = `starling: ${reason}: ${detail}`;
    this.rule = rule;
  }
}

const statusTexts: Readonly<{ [status: number]: string }> = {
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  417: 'Expectation Failed',
  431: 'Request Header Fields Too Large',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};

/** The whole response. `x-starling-reason` carries the stable code for programs. */
export function refusalResponse(refusal: Refusal, keepAlive: boolean, toHeadRequest: boolean): Buffer {
  const body = Buffer.from(`${refusal.text.replaceAll(/[\r\n]/g, ' ')}\n`);
  const head = [
    `HTTP/1.1 ${refusal.status} ${statusTexts[refusal.status] ?? 'Error'}`,
    'content-type: text/plain; charset=utf-8',
    `content-length: ${body.length}`,
    `x-starling-reason: ${refusal.reason}`,
  ];
  if (refusal.status === 405) head.push('allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS');
  if (!keepAlive) head.push('connection: close');
  const headBytes = Buffer.from(`${head.join('\r\n')}\r\n\r\n`);
  return toHeadRequest ? headBytes : Buffer.concat([headBytes, body]);
}
