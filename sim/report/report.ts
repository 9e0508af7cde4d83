/** What runs found out, for people and for programs: a line each, a summary of many, JSON and a plot. */
import { replayCommand } from '../arguments.ts';
import type { TrustCounters } from '../checks/trust-ledger.ts';
import type { Plan } from '../plan.ts';
import type { RunReport } from '../run.ts';
import { readableMs, Samples } from './statistics.ts';
import { distributionPlot } from './svg.ts';

/** The measurements of a run, each a bag of numbers. */
const bags = ['convergence', 'delivery', 'detection', 'ejection', 'bytesPerHost'] as const;
type Bag = (typeof bags)[number];

/** A run that kept every promise. */
export interface Kept {
  readonly outcome: 'kept';
  readonly report: RunReport;
  readonly realMs: number;
  readonly rssBytes: number;
}

/** A run that broke one, or that did not get to the end. */
export interface Broken {
  readonly outcome: 'broken';
  readonly scenario: string;
  readonly hosts: number;
  readonly seed: number;
  /** Kebab-case name of the checker; `crash` where the simulator itself gave up. */
  readonly checker: string;
  readonly detail: string;
}

export type Row = Kept | Broken;

/** The same as plain data, which may pass from one thread to another. */
export type PackedRow =
  | Broken
  | (Omit<Kept, 'report'> & {
      readonly report: Omit<RunReport, Bag> & { readonly [bag in Bag]: readonly number[] };
    });

export function pack(row: Row): PackedRow {
  if (row.outcome === 'broken') return row;
  const { report } = row;
  const values = Object.fromEntries(bags.map((bag) => [bag, [...report[bag].values]]));
  return { ...row, report: { ...report, ...(values as { [bag in Bag]: number[] }) } };
}

export function unpack(row: PackedRow): Row {
  if (row.outcome === 'broken') return row;
  const { report } = row;
  const samples = Object.fromEntries(bags.map((bag) => [bag, Samples.of(report[bag])]));
  return { ...row, report: { ...report, ...(samples as { [bag in Bag]: Samples }) } };
}

/** One run on one line; a broken promise comes with the command that replays it. */
export function line(row: Row): string {
  if (row.outcome === 'broken') {
    const { scenario, hosts, seed, detail } = row;
    return `${scenario} hosts ${hosts} seed ${seed} VIOLATED ${detail}\nreplay: ${replayCommand(scenario, hosts, seed)}`;
  }
  const { report, realMs, rssBytes } = row;
  return [
    report.scenario.padEnd(10),
    `hosts ${report.hosts}`,
    `seed ${report.seed}`,
    `${(report.virtualMs / 1000).toFixed(0)} s in ${(realMs / 1000).toFixed(1)} s (${(report.virtualMs / realMs).toFixed(1)}x)`,
    `${report.events} events`,
    `${Math.round(rssBytes / 1e6)} MB`,
    `converge ${middleAndMost(report.convergence)}`,
    `detect ${middleAndMost(report.detection)}`,
    `agreed after ${readableMs(report.agreedMs)}`,
    `certified after ${readableMs(report.certifiedMs)}`,
    `without for ${readableMs(report.longestLackMs)}`,
    `${report.trust.roots} roots, ${report.trust.epochs} epochs, ${report.trust.certificates} certificates`,
    `${kilobytes(report.bytesPerHost.quantile(0.5))} a host`,
    ...(report.falseDowns > 0 ? [`false downs ${report.falseDowns}`] : []),
    `trace ${report.traceHash}`,
  ].join('  ');
}

/** A plan as people read it: what holds throughout, then a line for each step in the order of time. */
export function planText({ timeline, ...always }: Plan): string {
  const steps = [...timeline].sort((a, b) => a.atMs - b.atMs);
  const lines = steps.map(({ atMs, step }) => `${String(atMs).padStart(7)} ms  ${JSON.stringify(step)}`);
  return `${JSON.stringify(always)}\n${lines.join('\n')}\n`;
}

/** Many runs on one line. */
export function summaryLine(rows: readonly Row[], realMs: number): string {
  const kept = rows.filter((row) => row.outcome === 'kept');
  const virtualMs = kept.reduce((sum, { report }) => sum + report.virtualMs, 0);
  return [
    `${rows.length} runs, ${rows.length - kept.length} violated`,
    `${(virtualMs / 3_600_000).toFixed(1)} h in ${(realMs / 1000).toFixed(0)} s`,
    `converge ${middleAndMost(gather(kept, 'convergence'))}`,
    `detect ${middleAndMost(gather(kept, 'detection'))}`,
    `false downs ${kept.reduce((sum, { report }) => sum + report.falseDowns, 0)}`,
    ...trustSummary(kept),
  ].join('  ');
}

/** What became of roots: nothing where none was shared. */
function trustSummary(kept: readonly Kept[]): string[] {
  const reports = kept.map(({ report }) => report).filter(({ trust }) => trust.epochs > 0);
  if (reports.length === 0) return [];
  const sum = (what: keyof TrustCounters): number =>
    reports.reduce((total, { trust }) => total + trust[what], 0);
  const certified = reports.flatMap(({ certifiedMs }) => (certifiedMs === null ? [] : [certifiedMs]));
  return [
    `certified after ${middleAndMost(Samples.of(certified))}`,
    `without for ${middleAndMost(Samples.of(reports.map(({ longestLackMs }) => longestLackMs)))}`,
    `${sum('roots')} roots, ${sum('epochs')} epochs, ${sum('byQuorum')} certificates by a quorum`,
    `${reports.length - certified.length} without a quorum in the end`,
  ];
}

function middleAndMost(samples: Samples): string {
  return `p50 ${readableMs(samples.quantile(0.5))} max ${readableMs(samples.max)}`;
}

function kilobytes(bytes: number | null): string {
  return bytes === null ? '-' : `${(bytes / 1000).toFixed(0)} kB`;
}

function gather(rows: readonly Row[], bag: Bag): Samples {
  return Samples.of(rows.flatMap((row) => (row.outcome === 'kept' ? [...row.report[bag].values] : [])));
}

/** Every run, its measurements summed up. */
export function toJson(rows: readonly Row[]): string {
  return `${JSON.stringify(rows.map(flat), null, 2)}\n`;
}

function flat(row: Row): object {
  if (row.outcome === 'broken') return { ...row, replay: replayCommand(row.scenario, row.hosts, row.seed) };
  const { outcome, report, realMs, rssBytes } = row;
  const summaries = bags.map((bag) => [bag, summary(report[bag], bag === 'bytesPerHost' ? 'B' : 'ms')]);
  return {
    outcome,
    ...report,
    realMs: Math.round(realMs),
    speedup: Number((report.virtualMs / realMs).toFixed(2)),
    rssBytes,
    ...Object.fromEntries(summaries),
  };
}

function summary(samples: Samples, unit: 'ms' | 'B'): object {
  const { count, max } = samples;
  return { count, p50: samples.quantile(0.5), p99: samples.quantile(0.99), max, unit };
}

/** How long things took and what they cost, over all runs. */
export function toSvg(scenario: string, rows: readonly Row[]): string {
  const hosts = [...new Set(rows.map((row) => (row.outcome === 'kept' ? row.report.hosts : row.hosts)))];
  const size =
    hosts.length === 1 ? `${hosts[0]} hosts` : `${Math.min(...hosts)} to ${Math.max(...hosts)} hosts`;
  return distributionPlot(`${scenario}, ${size}, ${rows.length === 1 ? '1 run' : `${rows.length} runs`}`, [
    {
      unit: 'ms',
      series: [
        { name: 'write seen by all', values: gather(rows, 'convergence').values },
        { name: 'death seen by one', values: gather(rows, 'detection').values },
        { name: 'out of all balancers', values: gather(rows, 'ejection').values },
      ],
    },
    { unit: 'B', series: [{ name: 'bytes sent by a host', values: gather(rows, 'bytesPerHost').values }] },
  ]);
}
