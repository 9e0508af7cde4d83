/** Puts load on a subject with `wrk` and `h2load`, and measures what it costs and how long it takes. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cpuMicroseconds } from '../processes.ts';
import type { Stage } from '../stage.ts';
import type { Reply } from './backend.ts';
import { type LatencyResult, parseH2loadLog } from './h2load-log.ts';
import { assertInPlace, assertWorked, CannotCarry, type Subject } from './subject.ts';
import { parseWrk } from './wrk-output.ts';

/** Connections the client keeps open when it is paced; the load generators use one thread each. */
const pacedConnections = 32;
/** Of the requests asked for; with fewer answered, a latency means nothing. */
const leastShare = 0.9;

/** A request of ordinary size: what a client library and a tracer add. */
const headers = [
  'User-Agent: starling-bench/1.0',
  'Accept: application/json',
  'Accept-Encoding: gzip, br',
  'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  'x-tenant: acme-prod-eu1',
].flatMap((header) => ['-H', header]);

export interface SaturationResult {
  readonly requestsPerSecond: number;
  /** Microseconds of CPU in each proxy for one request; empty without proxies. */
  readonly cpuMicroseconds: readonly number[];
}

interface Counted {
  readonly requests: number;
  readonly failed: number;
}

/** Has `load` put work on the subject and divides what its proxies used by the requests answered. */
export async function weigh<T extends Counted>(
  subject: Subject,
  endpoint: string,
  load: () => Promise<T>,
): Promise<T & { readonly cpuMicroseconds: readonly number[] }> {
  const before = subject.proxies.map(({ pid }) => cpuMicroseconds([pid]));
  const result = await load();
  const cost = subject.proxies.map(
    ({ pid }, index) => (cpuMicroseconds([pid]) - before[index]!) / result.requests,
  );
  assertInPlace(subject, endpoint);
  if (result.failed > 0) throw new CannotCarry(`${result.failed} of ${result.requests} requests failed`);
  assertWorked(subject.name, cost);
  return { ...result, cpuMicroseconds: cost };
}

/** As many requests as go through: `wrk`, after one second to warm up that is not measured. */
export async function saturate(
  stage: Stage,
  subject: Subject,
  { reply, connections }: { readonly reply: Reply; readonly connections: number },
  seconds: number,
): Promise<SaturationResult> {
  const endpoint = subject.endpoints.http!;
  const wrk = (duration: number): Promise<string> =>
    stage.run('wrk', [
      ...['-t', '1', '-c', String(connections), '-d', `${duration}s`],
      ...[...headers, `http://${endpoint}${reply.path}`],
    ]);
  await wrk(1);
  return weigh(subject, endpoint, async () => parseWrk(await wrk(seconds)));
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
  const endpoint = subject.endpoints.http!;
  const logs = Array.from({ length: pacedConnections }, (_, index) =>
    join(stage.directory, `h2load-${index}.log`),
  );
  const rate = String(requestsPerSecond / pacedConnections);
  const load = async (): Promise<LatencyResult> => {
    await Promise.all(
      logs.map((log) =>
        stage.run('h2load', [
          ...['--h1', '-t', '1', '-c', '1', '--rps', rate, '-D', String(seconds)],
          ...['--warm-up-time', '1', '--log-file', log, ...headers, `http://${endpoint}${reply.path}`],
        ]),
      ),
    );
    const text = logs.map((log) => readFileSync(log, 'utf8')).join('');
    for (const log of logs) rmSync(log);
    return parseH2loadLog(text);
  };
  const result = await weigh(subject, endpoint, load);
  if (result.requests < requestsPerSecond * seconds * leastShare)
    throw new CannotCarry(
      `${result.requests} requests in ${seconds} s instead of ${requestsPerSecond} a second`,
    );
  return result;
}
