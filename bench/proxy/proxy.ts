/**
 * `npm run bench -- proxy`: what the embedded proxies cost, beside HAProxy doing the same and beside no proxy at
 * all. All subjects run at once and take turns under load, so that a noisy moment falls on all of them; of the
 * rounds the median counts. CPU time per request is the figure to trust on a busy machine.
 */

import { residentBytes } from '../processes.ts';
import type { Row } from '../rows.ts';
import type { Stage } from '../stage.ts';
import { agentRow, measureAgent } from './agent.ts';
import { type Reply, replies, startBackend } from './backend.ts';
import { compare, Results } from './comparison.ts';
import { startHaproxy } from './haproxy.ts';
import { connections, pace, saturate } from './load.ts';
import { startStarling } from './starling.ts';
import type { Subject } from './subject.ts';

export interface ProxyBenchOptions {
  /** Length of each measurement. */
  readonly seconds: number;
  readonly rounds: number;
}

/** Programs that must be installed. */
export const proxyBenchTools = ['nginx', 'haproxy', 'openssl', 'wrk', 'h2load'];

/** Requests a second at which latency is measured: busy, and far from what any subject can carry. */
const pacedRequestsPerSecond = 2000;

const near = 41;
const far = 42;
const alone = 43;
const backendPort = 9001;
const upstreamPort = 9100;
const haproxyPort = 9180;
const haproxyInboundPort = 9443;

export async function benchProxy(stage: Stage, options: ProxyBenchOptions, say: Say): Promise<Row[]> {
  const agentRows = await measureAgent(stage, alone, say);
  const backend = `127.0.1.${far}:${backendPort}`;
  await startBackend(stage, backend);
  const direct: Subject = { name: 'direct', endpoint: backend, proxies: [] };
  const haproxy = await startHaproxy(stage, {
    client: `127.0.1.${near}:${haproxyPort}`,
    inbound: `127.0.1.${far}:${haproxyInboundPort}`,
    backend,
  });
  const starling = await startStarling(stage, { near, far, upstreamPort, backendPort });
  say(
    `three ways to one backend: ${connections} connections, ${options.rounds} rounds of ${options.seconds} s`,
  );
  const results = await takeTurns(stage, [direct, starling, haproxy], options, say);
  const loadedBytes = starling.proxies.map(({ pid }) => residentBytes(pid));
  return [
    ...replies.flatMap((reply) => compare(results, reply)),
    ...agentRows,
    agentRow('agent-rss-after-load', 'MB', Math.max(...loadedBytes) / 1e6),
  ];
}

type Say = (text: string) => void;

/** Every round, each subject is saturated and then paced with each reply; who begins moves on by one. */
async function takeTurns(
  stage: Stage,
  subjects: readonly Subject[],
  { seconds, rounds }: ProxyBenchOptions,
  say: Say,
): Promise<Results> {
  const results = new Results();
  for (let round = 0; round < rounds; round++) {
    const first = round % subjects.length;
    const order = [...subjects.slice(first), ...subjects.slice(0, first)];
    for (const reply of replies) {
      const sayWhere: Say = (text) => say(`round ${round + 1}, ${reply.size}, ${text}`);
      for (const subject of order) await measureCost(stage, subject, reply, seconds, results, sayWhere);
      for (const subject of order) await measureLatency(stage, subject, reply, seconds, results, sayWhere);
    }
  }
  return results;
}

async function measureCost(
  stage: Stage,
  subject: Subject,
  reply: Reply,
  seconds: number,
  results: Results,
  say: Say,
): Promise<void> {
  const { requestsPerSecond, cpuMicroseconds } = await saturate(stage, subject, reply, seconds);
  results.add(subject.name, reply, 'throughput', requestsPerSecond);
  results.add(
    subject.name,
    reply,
    'cpu',
    cpuMicroseconds.reduce((sum, each) => sum + each, 0),
  );
  const parts = cpuMicroseconds.map((each) => each.toFixed(1)).join(' + ');
  say(`${subject.name}: ${requestsPerSecond.toFixed(0)}/s${parts && `, CPU ${parts} us each`}`);
}

async function measureLatency(
  stage: Stage,
  subject: Subject,
  reply: Reply,
  seconds: number,
  results: Results,
  say: Say,
): Promise<void> {
  const { p50Ms, p99Ms } = await pace(stage, subject, reply, seconds, pacedRequestsPerSecond);
  results.add(subject.name, reply, 'p50', p50Ms);
  results.add(subject.name, reply, 'p99', p99Ms);
  say(`${subject.name}: p50 ${p50Ms} ms, p99 ${p99Ms} ms at ${pacedRequestsPerSecond}/s`);
}
