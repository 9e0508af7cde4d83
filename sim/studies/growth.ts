/** How long a write and a death take to reach all, what that costs a host, and how both grow with the mesh. */

import { readableQuantiles, type Samples } from '../report/statistics.ts';
import { markdownTable, readableBytes, type Study } from '../report/study.ts';
import { distributionPlot } from '../report/svg.ts';
import { deliveryMs, membershipBytes, membershipCpuShare } from '../report/traffic.ts';
import { runScale, type ScaleReport } from '../scale/scale.ts';

const sizes = [100, 1_000, 10_000];
const seed = 1;
const pointsMax = 1_000;

interface Size {
  readonly hosts: number;
  readonly report: ScaleReport;
  /** Of the simulator, for a host's second. */
  readonly realMicroseconds: number;
  /** Each host's share of one write: sent, and how often it got it. */
  readonly bytesPerWrite: number;
  readonly copiesPerWrite: number;
  /** What one death costs each host beside that. */
  readonly bytesPerDeath: number;
}

export const growth: Study = ({ stopwatch, progress }) => {
  const results = sizes.map((hosts): Size => {
    progress(`growth: ${hosts} hosts`);
    const startedAt = stopwatch();
    const report = runScale({ hosts, seed });
    const realMs = stopwatch() - startedAt;
    const { publish, network, virtualMs } = report.run;
    return {
      hosts,
      report,
      realMicroseconds: (realMs * 1e6) / virtualMs / hosts,
      bytesPerWrite: network.publishBytes / publish.published / hosts,
      copiesPerWrite: network.publishes / publish.published / hosts,
      bytesPerDeath: report.bytesPerDeath,
    };
  });
  return { text: textOf(results), data: results.map(dataOf), svg: plotOf(results) };
};

function textOf(results: readonly Size[]): string {
  const row = (name: string, cell: (size: Size) => string): string[] => [name, ...results.map(cell)];
  const two = (samples: Samples): string => readableQuantiles(samples, 0.5, 1);
  const three = (samples: Samples): string => readableQuantiles(samples, 0.5, 0.99, 1);
  return markdownTable([
    ['', ...results.map(({ hosts }) => `${hosts.toLocaleString('en')} hosts`)],
    row('a write at each host, p50 / p99 / max', ({ report }) => three(report.run.delivery)),
    row('a write at all hosts, p50 / p99 / max', ({ report }) => three(report.run.convergence)),
    row('SIGKILL known to each host, p50 / p99 / max', ({ report }) => three(report.told.killed)),
    row('SIGKILL known to all, median / slowest of three', ({ report }) => two(report.toldAll.killed)),
    row('host cut off known to each host, p50 / p99 / max', ({ report }) => three(report.told.dark)),
    row('host cut off known to all, median / slowest of three', ({ report }) => two(report.toldAll.dark)),
    row('healthy members found down', ({ report }) => String(report.run.falseDowns)),
    row('sent by a host a second, idle', ({ report }) => readableBytes(membershipBytes(report.idle))),
    row('CPU of a host, idle: membership, modelled', ({ report }) => share(membershipCpuShare(report.idle))),
    row('sent by a host for one write of 1.1 kB', ({ bytesPerWrite }) => readableBytes(bytesPerWrite)),
    row('copies of it that a host gets', ({ copiesPerWrite }) => copiesPerWrite.toFixed(1)),
    row('CPU of a host for it, modelled', () => `${deliveryMs} ms`),
    row('sent by a host for one death', ({ bytesPerDeath }) => readableBytes(bytesPerDeath)),
    row(
      'simulator, real time for a second of one host',
      ({ realMicroseconds }) => `${Math.round(realMicroseconds)} us`,
    ),
  ]);
}

function share(part: number): string {
  return `${(100 * part).toFixed(3)} %`;
}

function dataOf({ hosts, report, ...costs }: Size): object {
  const times = (samples: Samples): object => ({
    count: samples.count,
    p50: rounded(samples.quantile(0.5)),
    p99: rounded(samples.quantile(0.99)),
    max: rounded(samples.max),
    unit: 'ms',
  });
  return {
    hosts,
    seed,
    writeAtEach: times(report.run.delivery),
    writeAtAll: times(report.run.convergence),
    killKnownToEach: times(report.told.killed),
    killKnownToAll: times(report.toldAll.killed),
    cutKnownToEach: times(report.told.dark),
    cutKnownToAll: times(report.toldAll.dark),
    falseDowns: report.run.falseDowns,
    idlePerSecond: roundedAll(report.idle),
    activePerSecond: roundedAll(report.active),
    idleCpuShareModelled: rounded(membershipCpuShare(report.idle) * 1e6)! / 1e6,
    ...roundedAll(costs),
  };
}

function rounded(value: number | null): number | null {
  return value === null ? null : Math.round(value * 100) / 100;
}

function roundedAll(values: object): object {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, rounded(Number(value))]));
}

function plotOf(results: readonly Size[]): string {
  const series = (what: string, values: (report: ScaleReport) => Samples) =>
    results.map(({ hosts, report }) => ({ name: `${what}, ${hosts}`, values: thinned(values(report)) }));
  return distributionPlot('How times and bytes grow from 100 to 10,000 hosts', [
    { unit: 'ms', series: series('write at each', ({ run }) => run.delivery) },
    { unit: 'ms', series: series('SIGKILL known', ({ told }) => told.killed) },
    { unit: 'ms', series: series('cut off known', ({ told }) => told.dark) },
    { unit: 'B', series: series('sent in 50 s', ({ run }) => run.bytesPerHost) },
  ]);
}

/** Every so many-th of them in order, which draws the same curve. */
function thinned(samples: Samples): number[] {
  const sorted = [...samples.values].sort((a, b) => a - b);
  const stride = Math.max(1, Math.floor(sorted.length / pointsMax));
  return sorted.filter((_, index) => index % stride === 0 || index === sorted.length - 1);
}
