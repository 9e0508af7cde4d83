/** What one whole agent has to hold and to do, and how that grows with the mesh it is in. */
import { type CensusReport, takeCensus } from '../census/census.ts';
import { markdownTable, type Study } from '../report/study.ts';
import { distributionPlot } from '../report/svg.ts';

const sizes = [100, 1_000, 10_000];
const seed = 1;

export const census: Study = (tools) => {
  const results = sizes.map((hosts) => {
    tools.progress(`census: ${hosts} hosts`);
    return takeCensus(hosts, seed, tools);
  });
  return { text: textOf(results), data: results.map(dataOf), svg: plotOf(results) };
};

function textOf(results: readonly CensusReport[]): string {
  const row = (name: string, cell: (report: CensusReport) => string): string[] => [
    name,
    ...results.map(cell),
  ];
  const head = ({ hosts, instances }: CensusReport): string =>
    `${hosts.toLocaleString('en')} hosts, ${instances.toLocaleString('en')} instances`;
  return [
    'Every record is real and signed, times are of one core of the machine that ran this.',
    '',
    markdownTable([
      ['', ...results.map(head)],
      row('records', ({ records }) => records.toLocaleString('en')),
      row('their bytes, on the wire and on disk', ({ recordBytes }) => megabytes(recordBytes)),
      row('memory that an agent takes for them', ({ agentBytes }) => megabytes(agentBytes)),
      row('start on them', ({ costs }) => seconds(costs.startMs)),
      row('a change from elsewhere, p50 / p99', ({ costs }) => microseconds(costs.changes)),
      row('the configuration after it, p50 / p99', ({ costs }) => microseconds(costs.configurations)),
      row('all records to a newcomer: frames', ({ snapshot }) => snapshot.frames.toLocaleString('en')),
      row('bytes', ({ snapshot }) => megabytes(snapshot.bytes)),
      row('CPU of the giver', ({ snapshot }) => seconds(snapshot.giverMs)),
      row('CPU of the newcomer, who verifies each', ({ snapshot }) => seconds(snapshot.takerMs)),
    ]),
  ].join('\n');
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 10e6 ? 1 : 0)} MB`;
}

function seconds(milliseconds: number): string {
  return milliseconds < 1_000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1_000).toFixed(1)} s`;
}

function microseconds(samples: CensusReport['costs']['changes']): string {
  const read = (share: number): string => ((samples.quantile(share) ?? 0) * 1_000).toFixed(0);
  return `${read(0.5)} / ${read(0.99)} us`;
}

function dataOf({ costs, ...report }: CensusReport): object {
  const { changes, configurations, startMs } = costs;
  const times = (samples: typeof changes): object => ({
    count: samples.count,
    p50: samples.quantile(0.5),
    p99: samples.quantile(0.99),
    max: samples.max,
    unit: 'ms',
  });
  return { ...report, seed, startMs, changes: times(changes), configurations: times(configurations) };
}

function plotOf(results: readonly CensusReport[]): string {
  const series = (what: string, values: (report: CensusReport) => readonly number[]) =>
    results.map((report) => ({ name: `${what}, ${report.hosts}`, values: values(report) }));
  const inMicroseconds = (milliseconds: readonly number[]): number[] => milliseconds.map((ms) => ms * 1_000);
  return distributionPlot('What a change costs an agent among 100 to 10,000 hosts', [
    { unit: 'us', series: series('change', ({ costs }) => inMicroseconds(costs.changes.values)) },
    {
      unit: 'us',
      series: series('configuration', ({ costs }) => inMicroseconds(costs.configurations.values)),
    },
  ]);
}
