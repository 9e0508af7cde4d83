/** `stat`: what goes through the proxy of this host. */
import type { Command } from 'commander';
import type { DenialLine, TrafficLine, TrafficReport } from '../../traffic.ts';
import { type CommonOptions, common, run } from './invocation.ts';
import { type Cell, printable, table } from './output.ts';

interface StatOptions extends CommonOptions {
  readonly denied?: boolean;
}

/** Below this share of successes a row is shown as bad. */
const badSuccessRate = 0.99;

export const trafficHeader = [
  'SOURCE',
  'DESTINATION',
  'SEEN BY',
  'PROTOCOL',
  'REQUESTS',
  'SUCCESS',
  'RPS',
  'P50',
  'P95',
  'P99',
  'RETRIES',
  'DENIED',
];

/** Rates and quantiles of the last minute where there was traffic in it, else of all time. */
export function trafficRow(line: TrafficLine): (string | Cell)[] {
  const denied = Object.values(line.deniedBy).reduce((sum, count) => sum + count, 0);
  const quality = line.recent.requests > 0 ? line.recent : line;
  const { successRate, p50Ms, p95Ms, p99Ms } = quality;
  const isStream = line.protocol === 'tcp';
  return [
    printable(line.source === '' ? '-' : line.source),
    printable(nameOf(line)),
    line.reporter,
    line.protocol,
    String(line.requests),
    {
      text: successRate === null ? '-' : percent(successRate),
      tone: successRate !== null && successRate < badSuccessRate ? 'bad' : 'plain',
    },
    rate(line.recent.requestsPerSecond),
    // How long connections last says nothing about how fast anything is.
    isStream ? '-' : milliseconds(p50Ms),
    isStream ? '-' : milliseconds(p95Ms),
    isStream ? '-' : milliseconds(p99Ms),
    String(line.retries),
    { text: String(denied), tone: denied > 0 ? 'warn' : 'plain' },
  ];
}

function nameOf({ destination, subset, route }: TrafficLine): string {
  const target = subset === '' ? destination : `${subset}.${destination}`;
  return route === '' ? target : `${target} (${route})`;
}

/** Rounded down, so that 100% means all of them. */
function percent(share: number): string {
  return `${(Math.floor(share * 10_000) / 100).toFixed(2)}%`;
}

function rate(perSecond: number): string {
  return perSecond === 0 ? '0' : perSecond.toFixed(perSecond < 10 ? 2 : 0);
}

function milliseconds(value: number | null): string {
  if (value === null) return '-';
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)}ms`;
}

export function trafficTable({ traffic }: TrafficReport): string {
  return table(trafficHeader, traffic.map(trafficRow));
}

function denialTable(denied: readonly DenialLine[]): string {
  const rows = denied.map(({ source, destination, rule, count, reporter }) => [
    printable(source === '' ? '-' : source),
    printable(destination),
    printable(rule),
    reporter,
    String(count),
  ]);
  return table(['SOURCE', 'DESTINATION', 'RULE', 'SEEN BY', 'COUNT'], rows);
}

async function stat(options: StatOptions): Promise<void> {
  await run(options, async (invocation) => {
    const report = await invocation.client.get<TrafficReport | null>('/v1/mesh/stat');
    const onlyDenied = options.denied === true;
    invocation.show(onlyDenied ? (report?.denied ?? null) : report, () => {
      if (report === null) return 'this agent runs no proxy';
      return onlyDenied ? denialTable(report.denied) : trafficTable(report);
    });
    return 0;
  });
}

export function addTrafficCommands(program: Command): void {
  common(program.command('stat').description("traffic through this host's proxy"))
    .option('--denied', 'list what was denied: who, whom, and by which rule')
    .action(stat);
}
