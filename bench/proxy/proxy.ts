/**
 * `npm run bench -- proxy`: what the embedded proxies cost, beside others doing the same and beside no proxy at
 * all. All subjects run at once and take turns under load, so that a noisy moment falls on all of them; of the
 * rounds the median counts. CPU time per request is the figure to trust on a busy machine.
 */

import { residentBytes } from '../processes.ts';
import type { Row } from '../rows.ts';
import type { Stage } from '../stage.ts';
import { measureAgent } from './agent.ts';
import { replies, startBackend } from './backend.ts';
import { cellsOf } from './cells.ts';
import { makeCertificates } from './certificates.ts';
import { Results } from './comparison.ts';
import { saturate } from './load.ts';
import type { ProxyMeasurement } from './measurements.ts';
import type { PeerName } from './peer-names.ts';
import { assertInPlace, CannotCarry, type Subject } from './subject.ts';
import { startSubjects, wayTo } from './subjects.ts';

export interface ProxyBenchOptions {
  /** Length of each measurement. */
  readonly seconds: number;
  readonly rounds: number;
  readonly only: readonly ProxyMeasurement[];
  readonly peers: readonly PeerName[];
}

/** Programs that must be installed. */
export const proxyBenchTools = ['nginx', 'haproxy', 'caddy', 'openssl', 'wrk', 'h2load'];

/** Last octet of the address of an agent that is measured by itself. */
const alone = 43;
/** Idle means this long after all have started: an agent gives back what its start needed after some ten seconds. */
const settleMs = 20_000;

const warmUpSeconds = 3;

type Say = (text: string) => void;

export async function benchProxy(stage: Stage, options: ProxyBenchOptions, say: Say): Promise<Row[]> {
  const agentRows = options.only.includes('agent') ? await measureAgent(stage, alone, say) : [];
  if (options.only.every((measurement) => measurement === 'agent')) return agentRows;
  const certificates = await makeCertificates(stage);
  await startBackend(stage, wayTo(0).application);
  const subjects = await startSubjects(stage, certificates, options.peers, say);
  const results = new Results(subjects.map(({ name }) => name));
  const memory = options.only.includes('memory');
  if (memory) {
    await stage.pause(settleMs);
    noteMemory(results, subjects, 'rss-idle');
  }
  await warmUp(stage, subjects);
  await takeTurns(stage, subjects, options, results, say);
  if (memory) noteMemory(results, subjects, 'rss-loaded');
  return [...results.rows(), ...agentRows];
}

/** The larger of the two proxies of each subject. */
function noteMemory(results: Results, subjects: readonly Subject[], name: string): void {
  for (const { name: subject, proxies } of subjects) {
    if (proxies.length === 0) continue;
    const bytes = Math.max(...proxies.map(({ pid }) => residentBytes(pid)));
    results.add(subject, { name, unit: 'MB', ofProxies: true }, bytes / 1e6);
  }
}

/** Code that is compiled as it is used gets to be compiled before anything counts. */
async function warmUp(stage: Stage, subjects: readonly Subject[]): Promise<void> {
  for (const reply of replies)
    for (const subject of subjects) await saturate(stage, subject, { reply, connections: 32 }, warmUpSeconds);
}

/** Every round, each cell is measured on each subject; who begins moves on by one. */
async function takeTurns(
  stage: Stage,
  subjects: readonly Subject[],
  { seconds, rounds, only }: ProxyBenchOptions,
  results: Results,
  say: Say,
): Promise<void> {
  const cells = cellsOf(only);
  say(`${subjects.length} ways, ${cells.length} measurements each, ${rounds} rounds of ${seconds} s`);
  for (let round = 0; round < rounds; round++) {
    const first = round % subjects.length;
    const order = [...subjects.slice(first), ...subjects.slice(0, first)];
    for (const { name, kind, measure } of cells)
      for (const subject of order) {
        const where = `round ${round + 1}, ${name}, ${subject.name}`;
        if (subject.endpoints[kind] === undefined) continue;
        try {
          const figures = await measure(stage, subject, seconds);
          for (const { metric, value } of figures) results.add(subject.name, metric, value);
          say(
            `${where}: ${figures.map(({ metric, value }) => `${value.toFixed(2)} ${metric.unit}`).join(', ')}`,
          );
        } catch (error) {
          if (!(error instanceof CannotCarry)) {
            // A proxy that ended is the better explanation of what a load generator complains about.
            assertInPlace(subject, subject.endpoints[kind]!);
            throw error;
          }
          say(`${where}: cannot: ${error.message}`);
        }
      }
  }
}
