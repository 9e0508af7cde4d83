/** Puts load on a subject with `wrk` and `h2load`, and measures what it costs and how long it takes. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cpuMicroseconds } from '../processes.ts';
import type { Stage } from '../stage.ts';
import type { Reply } from './backend.ts';
import { type LatencyResult, parseH2loadLog } from './h2load-log.ts';
import { assertInPlace, type Subject } from './subject.ts';
import { parseWrk } from './wrk-output.ts';

/** Connections the client keeps open; the load generators use one thread each. */
export const connections = 32;

/** A request of ordinary size: what a client library and a tracer add. */
const headers = [
  'User-Agent: starling-bench/1.0',
  'Accept: application/json',
  'Accept-Encoding: gzip, br',
  'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  'x-tenant: acme-prod-eu1',
].flatMap((header) => ['-H', header]);

/** Less CPU than this in one request is not work of a proxy: the traffic goes another way. */
const leastCpuMicroseconds = 0.5;

export interface SaturationResult {
  readonly requestsPerSecond: number;
  /** Microseconds of CPU in each proxy for one request; empty without proxies. */
  readonly cpuMicroseconds: readonly number[];
}

/** As many requests as go through: `wrk`, after one second to warm up that is not measured. */
export async function saturate(
  stage: Stage,
  subject: Subject,
  reply: Reply,
  seconds: number,
): Promise<SaturationResult> {
  const wrk = (duration: number): Promise<string> =>
    stage.run('wrk', [
      ...['-t', '1', '-c', String(connections), '-d', `${duration}s`],
      ...[...headers, urlOf(subject, reply)],
    ]);
  await wrk(1);
  const before = subject.proxies.map(({ pid }) => cpuMicroseconds([pid]));
  const result = parseWrk(await wrk(seconds));
  const cost = subject.proxies.map(
    ({ pid }, index) => (cpuMicroseconds([pid]) - before[index]!) / result.requests,
  );
  assertValid(subject, result, cost);
  return { requestsPerSecond: result.requestsPerSecond, cpuMicroseconds: cost };
}

/**
 * A steady rate far below saturation, from one `h2load` for each connection: a single one sends on all its
 * connections in the same instant, and the queue it makes of them would be the latency. After one second to warm
 * up that is not logged. A latency counts from when its request was sent.
 */
export async function pace(
  stage: Stage,
  subject: Subject,
  reply: Reply,
  seconds: number,
  requestsPerSecond: number,
): Promise<LatencyResult> {
  const logs = Array.from({ length: connections }, (_, index) =>
    join(stage.directory, `h2load-${index}.log`),
  );
  const before = subject.proxies.map(({ pid }) => cpuMicroseconds([pid]));
  await Promise.all(
    logs.map((log) =>
      stage.run('h2load', [
        ...['--h1', '-t', '1', '-c', '1', '--rps', String(requestsPerSecond / connections)],
        ...['-D', String(seconds), '--warm-up-time', '1', '--log-file', log],
        ...[...headers, urlOf(subject, reply)],
      ]),
    ),
  );
  const result = parseH2loadLog(logs.map((log) => readFileSync(log, 'utf8')).join(''));
  for (const log of logs) rmSync(log);
  const cost = subject.proxies.map(
    ({ pid }, index) => (cpuMicroseconds([pid]) - before[index]!) / result.requests,
  );
  assertValid(subject, result, cost);
  const least = requestsPerSecond * seconds * 0.9;
  if (result.requests < least)
    throw new Error(
      `${subject.name} answered ${result.requests} requests in ${seconds} s instead of ${requestsPerSecond} a second: ` +
        'the machine is too busy for a latency to mean anything',
    );
  return result;
}

function urlOf(subject: Subject, reply: Reply): string {
  return `http://${subject.endpoint}${reply.path}`;
}

/** Throws when the figures do not come from whole replies through the proxies under measurement. */
function assertValid(
  subject: Subject,
  result: { readonly requests: number; readonly failed: number },
  cost: readonly number[],
): void {
  assertInPlace(subject);
  if (result.failed > 0)
    throw new Error(`${result.failed} of ${result.requests} requests through ${subject.name} failed`);
  if (cost.some((microseconds) => microseconds < leastCpuMicroseconds))
    throw new Error(
      `${subject.name} used ${cost.map((it) => it.toFixed(2)).join(' and ')} us of CPU a request: ` +
        'the traffic does not reach the processes under measurement',
    );
}
