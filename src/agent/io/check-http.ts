/** HTTP checks: 2xx passes, 429 warns, everything else is critical, as Consul has it. */
import { STATUS_CODES } from 'node:http';
import { Agent, type Dispatcher, interceptors, request } from 'undici';
import { messageOf } from '../../core.ts';
import { goDuration } from '../consul.ts';
import type { CheckDefinition, CheckStatus } from '../kinds.ts';
import type { Outcome } from './check-outcome.ts';

/** What is kept of a body, bytes; the rest is not read. */
export const maxBodyBytes = 4096;
/** Redirects followed, as Go's client does. */
const maxRedirections = 10;

/** Where requests go out: with certificates verified, and without for checks that ask for it. */
export interface HttpDispatchers {
  readonly verifying: Dispatcher;
  readonly trusting: Dispatcher;
  close(): Promise<void>;
}

/** A connection is used once: a check must see what a new client would see. */
export function httpDispatchers(): HttpDispatchers {
  const verifying = new Agent({ pipelining: 0 });
  const trusting = new Agent({ pipelining: 0, connect: { rejectUnauthorized: false } });
  const redirect = interceptors.redirect({ maxRedirections });
  return {
    verifying: verifying.compose(redirect),
    trusting: trusting.compose(redirect),
    async close() {
      await Promise.all([verifying.destroy(), trusting.destroy()]);
    },
  };
}

/** Sends the check's request once. Never rejects. */
export async function runHttp(
  check: CheckDefinition,
  dispatchers: HttpDispatchers,
  stop: AbortSignal,
): Promise<Outcome> {
  const timeout = AbortSignal.timeout(check.timeoutMs);
  const subject = `HTTP ${check.method} ${check.target}`;
  try {
    const answer = await request(check.target, {
      dispatcher: check.tlsSkipVerify ? dispatchers.trusting : dispatchers.verifying,
      method: check.method,
      headers: headersOf(check),
      body: check.body === '' ? null : check.body,
      signal: AbortSignal.any([stop, timeout]),
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    const { statusCode } = answer;
    const body = await beginningOf(answer.body);
    const reason = STATUS_CODES[statusCode] ?? '';
    return { status: statusOf(statusCode), output: `${subject}: ${statusCode} ${reason} Output: ${body}` };
  } catch (error) {
    const why = timeout.aborted ? `timed out after ${goDuration(check.timeoutMs)}` : reasonOf(error);
    return { status: 'critical', output: `${subject}: ${why}` };
  }
}

function statusOf(statusCode: number): CheckStatus {
  if (statusCode >= 200 && statusCode <= 299) return 'passing';
  return statusCode === 429 ? 'warning' : 'critical';
}

function headersOf(check: CheckDefinition): { [name: string]: string | string[] } {
  const headers: { [name: string]: string | string[] } = {
    'user-agent': 'Starling Health Check',
    accept: 'text/plain, text/*, */*',
  };
  for (const [name, values] of Object.entries(check.header)) {
    const lower = name.toLowerCase();
    headers[lower] = values.length === 1 ? values[0]! : [...values];
  }
  return headers;
}

/** The first bytes as text. Leaving the loop early closes the connection. */
async function beginningOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= maxBodyBytes) break;
  }
  return Buffer.concat(chunks).subarray(0, maxBodyBytes).toString('utf8');
}

/** An `AggregateError` of several addresses has no message of its own. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ');
  return messageOf(error);
}
