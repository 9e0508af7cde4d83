/** `top`: a live view of the traffic through this host's proxy. */

import { setTimeout as wait } from 'node:timers/promises';
import type { Command } from 'commander';
import { Fault } from '../../../core.ts';
import type { TrafficLine, TrafficReport } from '../../traffic.ts';
import { type CommonOptions, common, type Invocation, run } from './invocation.ts';
import { printJson } from './output.ts';
import { noProxy, trafficTable } from './traffic-table.ts';

interface TopOptions extends CommonOptions {
  readonly once?: boolean;
}

const intervalMs = 1000;
const enterScreen = '\x1b[?1049h\x1b[?25l';
const leaveScreen = '\x1b[?25h\x1b[?1049l';
const toTop = '\x1b[H';
const eraseLineEnd = '\x1b[K';
const eraseBelow = '\x1b[J';

const keyOf = ({ reporter, source, destination, protocol, route, subset }: TrafficLine): string =>
  [reporter, source, destination, protocol, route, subset].join(' ');

/** The busiest first, with rates since `before`, which was read `elapsedMs` earlier. */
function live(now: TrafficReport, before: TrafficReport | null, elapsedMs: number): TrafficReport {
  const known = new Map(before?.traffic.map((line) => [keyOf(line), line.requests]));
  const traffic = now.traffic.map((line) => {
    const since = line.requests - (known.get(keyOf(line)) ?? 0);
    const requestsPerSecond = before === null ? line.recent.requestsPerSecond : (since * 1000) / elapsedMs;
    return { ...line, recent: { ...line.recent, requestsPerSecond } };
  });
  traffic.sort((a, b) => b.recent.requestsPerSecond - a.recent.requestsPerSecond || b.requests - a.requests);
  return { ...now, traffic };
}

function draw(report: TrafficReport): void {
  const denied = report.denied.reduce((sum, { count }) => sum + count, 0);
  const title = `${new Date().toTimeString().slice(0, 8)}  ${report.activeConnections} connections, ${denied} denied; Ctrl-C ends`;
  const lines = [title, '', ...trafficTable(report).split('\n')].slice(0, (process.stdout.rows ?? 24) - 1);
  process.stdout.write(`${toTop}${lines.map((line) => `${line}${eraseLineEnd}\n`).join('')}${eraseBelow}`);
}

/** Draws until interrupted. The terminal is given back as it was. */
async function watch({ client }: Invocation): Promise<void> {
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  process.stdout.write(enterScreen);
  try {
    let before: TrafficReport | null = null;
    let readAt = 0;
    while (!interrupted.signal.aborted) {
      const report: TrafficReport | null = await client.get<TrafficReport | null>('/v1/mesh/stat');
      if (report === null) throw new Fault('refused', noProxy);
      const now = performance.now();
      draw(live(report, before, now - readAt));
      before = report;
      readAt = now;
      await wait(intervalMs, undefined, { signal: interrupted.signal }).catch(() => undefined);
    }
  } finally {
    process.stdout.write(leaveScreen);
  }
}

async function top(options: TopOptions): Promise<void> {
  // What is drawn again and again is no JSON.
  const once = options.once === true || options.json === true;
  if (!once && process.stdout.isTTY !== true)
    throw new Fault('bad-option', 'top draws on a terminal; use --once, or stat, where there is none');
  await run(options, async (invocation) => {
    if (!once) {
      await watch(invocation);
      return 0;
    }
    const report = await invocation.client.get<TrafficReport | null>('/v1/mesh/stat');
    const shown = report === null ? null : live(report, null, 0);
    if (invocation.json) printJson(shown);
    else process.stdout.write(`${shown === null ? noProxy : trafficTable(shown)}\n`);
    return 0;
  });
}

export function addTopCommand(program: Command): void {
  common(program.command('top').description("live view of the traffic through this host's proxy"))
    .option('--once', 'print it once, the busiest first')
    .action(top);
}
