/** HTTP checks: 2xx passes, 429 warns, everything else is critical, as Consul has it. */
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { request as requestTls } from 'node:https';
import { messageOf } from '../../core.ts';
import { goDuration } from '../consul/consul.ts';
import type { CheckDefinition, CheckStatus } from '../kinds.ts';
import type { Outcome } from './check-outcome.ts';
import type { Reach } from './check-reach.ts';

// To import the module would be to list its exports, and that loads Node's web client: 25 ms of CPU at every start.
const { request, STATUS_CODES } = process.getBuiltinModule('node:http');

/** What is kept of a body, bytes; the rest is not read. */
export const maxBodyBytes = 4096;
/** Redirects followed on one host; the answer after them counts, whatever it is. */
const maxRedirections = 10;

/** One request as it goes out; a redirect leads to another one. */
interface Sending {
  readonly url: URL;
  readonly method: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body: string;
}

/** Sends the check's request once. Never rejects. */
export async function runHttp(check: CheckDefinition, reach: Reach, stop: AbortSignal): Promise<Outcome> {
  const timeout = AbortSignal.timeout(check.timeoutMs);
  const subject = `HTTP ${check.method} ${check.target}`;
  try {
    const answer = await finalAnswer(check, reach, AbortSignal.any([stop, timeout]));
    const statusCode = answer.statusCode ?? 0;
    const body = await beginningOf(answer);
    const reason = STATUS_CODES[statusCode] ?? '';
    return { status: statusOf(statusCode), output: `${subject}: ${statusCode} ${reason} Output: ${body}` };
  } catch (error) {
    const why = timeout.aborted ? `timed out after ${goDuration(check.timeoutMs)}` : reasonOf(error);
    return { status: 'critical', output: `${subject}: ${why}` };
  }
}

async function finalAnswer(
  check: CheckDefinition,
  reach: Reach,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { method, body } = check;
  let sending: Sending = { url: new URL(check.target), method, headers: headersOf(check), body };
  for (let followed = 0; ; followed++) {
    const answer = await send(sending, reach, check.tlsSkipVerify, signal);
    const next = followed < maxRedirections ? redirected(sending, answer) : null;
    if (next === null) return answer;
    answer.destroy();
    sending = next;
  }
}

/** A connection is used once: a check must see what a new client would see. */
function send(
  { url, method, headers, body }: Sending,
  reach: Reach,
  trusting: boolean,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
  const options = { method, headers, signal, agent: false, lookup: reach.lookupFor(port) } as const;
  return new Promise((resolve, reject) => {
    reach.admit(url.hostname, port);
    const outgoing =
      url.protocol === 'https:'
        ? requestTls(url, { ...options, rejectUnauthorized: !trusting })
        : request(url, options);
    outgoing.once('response', resolve);
    // Stays on: an error after the answer, as when the abort comes late, must not go unhandled.
    outgoing.on('error', reject);
    outgoing.once('close', () => reject(new Error('the connection was closed without an answer')));
    outgoing.end(body);
  });
}

/**
 * Where an answer sends the client (RFC 9110, section 15.4); null when it is an answer to stay with, as one is that
 * points to another host: the definition says which one is asked, not who answers there.
 */
function redirected({ url, method, headers, body }: Sending, answer: IncomingMessage): Sending | null {
  const { statusCode = 0, headers: told } = answer;
  if (![301, 302, 303, 307, 308].includes(statusCode) || told.location === undefined) return null;
  const next = URL.parse(told.location, url.href);
  if (next === null || next.hostname !== url.hostname || !/^https?:$/.test(next.protocol)) return null;
  const keepsBody = statusCode >= 307 || (statusCode !== 303 && method !== 'POST');
  const dropped = new Set(['host']);
  if (!keepsBody) for (const name of Object.keys(headers)) if (name.startsWith('content-')) dropped.add(name);
  // Credentials are for whom the definition names, not for whomever it points to.
  if (next.origin !== url.origin) for (const name of credentialHeaders) dropped.add(name);
  return {
    url: next,
    method: keepsBody || method === 'HEAD' ? method : 'GET',
    headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !dropped.has(name))),
    body: keepsBody ? body : '',
  };
}

const credentialHeaders = ['authorization', 'cookie', 'proxy-authorization'] as const;

function statusOf(statusCode: number): CheckStatus {
  if (statusCode >= 200 && statusCode <= 299) return 'passing';
  return statusCode === 429 ? 'warning' : 'critical';
}

function headersOf(check: CheckDefinition): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = {
    'user-agent': 'Starling Health Check',
    accept: 'text/plain, text/*, */*',
  };
  for (const [name, values] of Object.entries(check.header)) {
    const lower = name.toLowerCase();
    headers[lower] = values.length === 1 ? values[0]! : [...values];
  }
  // For methods that seldom have a body, Node does not tell its length by itself.
  if (check.body !== '') headers['content-length'] = Buffer.byteLength(check.body);
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
