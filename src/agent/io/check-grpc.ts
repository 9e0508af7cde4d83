/** gRPC checks: passing when the server says SERVING by gRPC's health checking protocol (grpc.health.v1), as Consul has it. */
import type { ClientHttp2Session } from 'node:http2';
import { unescape as unquoted } from 'node:querystring';
import { messageOf } from '../../core.ts';
import { goDuration } from '../consul/consul.ts';
import type { CheckDefinition } from '../kinds.ts';
import type { Outcome } from './check-outcome.ts';
import type { Reach } from './check-reach.ts';

/** A server that says more in answer to the one question there is says something else. */
const maxAnswerBytes = 4096;
const statusNames = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'] as const;

/** Asks once. Never rejects. */
export async function runGrpc(check: CheckDefinition, reach: Reach, stop: AbortSignal): Promise<Outcome> {
  const timeout = AbortSignal.timeout(check.timeoutMs);
  const subject = `gRPC check ${check.target}`;
  try {
    const url = new URL(check.target.startsWith('https://') ? check.target : `http://${check.target}`);
    const status = await ask(url, check.tlsSkipVerify, reach, AbortSignal.any([stop, timeout]));
    return { status: status === 'SERVING' ? 'passing' : 'critical', output: `${subject}: ${status}` };
  } catch (error) {
    const why = timeout.aborted ? `timed out after ${goDuration(check.timeoutMs)}` : messageOf(error);
    return { status: 'critical', output: `${subject}: ${why}` };
  }
}

async function ask(url: URL, trusting: boolean, reach: Reach, signal: AbortSignal): Promise<string> {
  // Loaded for the hosts that have such checks.
  const { connect } = await import('node:http2');
  const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
  reach.admit(url.hostname, port);
  signal.throwIfAborted();
  const session = connect(url.origin, { lookup: reach.lookupFor(port), rejectUnauthorized: !trusting });
  try {
    return statusIn(await answerOf(session, decodeURIComponent(url.pathname.slice(1)), signal));
  } finally {
    session.destroy();
  }
}

function answerOf(session: ClientHttp2Session, service: string, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // Stays on: an error after the end, as when the abort comes late, must not go unhandled.
    session.on('error', reject);
    signal.addEventListener('abort', () => reject(new Error('stopped')), { once: true });
    const stream = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      'user-agent': 'Starling Health Check',
      te: 'trailers',
    });
    let body: Buffer = Buffer.alloc(0);
    let problem: string | null = null;
    const look = (headers: { readonly [name: string]: unknown }): void => {
      const code = headers['grpc-status'];
      // Of a malformed message it makes something, where decodeURIComponent would throw.
      const message = unquoted(String(headers['grpc-message'] ?? ''));
      if (code !== undefined && code !== '0')
        problem = `the server answered with gRPC status ${code} ${message}`.trim();
    };
    stream.on('response', (headers) => {
      if (headers[':status'] !== 200) problem = `the server answered with HTTP status ${headers[':status']}`;
      look(headers);
    });
    stream.on('trailers', look);
    stream.on('data', (chunk: Buffer) => {
      body = Buffer.concat([body, chunk]);
      if (body.length > maxAnswerBytes)
        reject(new Error(`the answer is longer than ${maxAnswerBytes} bytes`));
    });
    stream.on('error', reject);
    stream.on('close', () => {
      if (problem === null) resolve(body);
      else reject(new Error(problem));
    });
    stream.end(question(service));
  });
}

/** `HealthCheckRequest { string service = 1; }` in gRPC's frame: no compression, the length, the message. */
function question(service: string): Buffer {
  const name = Buffer.from(service, 'utf8');
  const length = name.length < 128 ? [name.length] : [(name.length & 127) | 128, name.length >> 7];
  const message = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, ...length]), name]);
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(message.length, 1);
  return Buffer.concat([frame, message]);
}

/** `HealthCheckResponse { ServingStatus status = 1; }`; a field that is not written is 0. */
function statusIn(body: Buffer): string {
  const length = body.length < 5 ? -1 : body.readUInt32BE(1);
  if (body[0] !== 0 || body.length !== 5 + length) throw new Error('the answer is not one of grpc.health.v1');
  const value = length === 0 ? 0 : body[5] === 0x08 && length === 2 ? body[6]! : -1;
  const status = statusNames[value];
  if (status === undefined) throw new Error('the answer is not one of grpc.health.v1');
  return status;
}
