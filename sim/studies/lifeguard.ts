/** Do sick members accuse healthy ones, and how soon are they found out themselves? See ../lifeguard.ts. */

import { readableQuantiles, Samples } from '../report/statistics.ts';
import { markdownTable, type Study, type StudyTools } from '../report/study.ts';
import { distributionPlot } from '../report/svg.ts';
import { type Diagnosis, diagnose } from '../scale/lifeguard.ts';
import { type ParameterSet, parameterSets } from '../scale/memberlist.ts';

const hosts = 100;
const sickCounts = [1, 4, 8, 16, 32];
const stopsMs = [128, 512, 2_048, 8_192, 32_768];
/** How long the sick run between two stops. */
const runsMs = [1, 64, 1_024];
/** Of the experiment in which they stop once, for the longest of those times. */
const onceSeeds = [1, 2, 3];

interface Cell {
  readonly parameters: ParameterSet;
  readonly sick: number;
  readonly stopMs: number;
  readonly falseDowns: number;
  readonly falseDownsByHealthy: number;
  readonly falseSuspicions: number;
}

interface Once {
  readonly parameters: ParameterSet;
  readonly sick: number;
  readonly first: Samples;
  readonly last: Samples;
}

export const lifeguard: Study = (tools) => {
  const cells = parameterSets.flatMap((parameters) =>
    sickCounts.flatMap((sick) => stopsMs.map((stopMs) => cellOf(parameters, sick, stopMs, tools))),
  );
  const once = parameterSets.flatMap((parameters) =>
    sickCounts.map((sick) => stoppedOnce(parameters, sick, tools)),
  );
  return { text: textOf(cells, once), data: dataOf(cells, once), svg: plotOf(once) };
};

/** All lengths of running in between, together. */
function cellOf(parameters: ParameterSet, sick: number, stopMs: number, { progress }: StudyTools): Cell {
  progress(`lifeguard: ${parameters}, ${sick} of ${hosts} stopped for ${stopMs} ms again and again`);
  const runs = runsMs.map((runMs) => diagnose({ hosts, sick, stopMs, runMs, seed: 1, parameters }));
  const sum = (count: (run: Diagnosis) => number): number =>
    runs.reduce((total, run) => total + count(run), 0);
  return {
    parameters,
    sick,
    stopMs,
    falseDowns: sum((run) => run.falseDowns),
    falseDownsByHealthy: sum((run) => run.falseDownsByHealthy),
    falseSuspicions: sum((run) => run.falseSuspicions),
  };
}

function stoppedOnce(parameters: ParameterSet, sick: number, { progress }: StudyTools): Once {
  progress(`lifeguard: ${parameters}, ${sick} of ${hosts} stopped once`);
  const stopMs = Math.max(...stopsMs);
  const runs = onceSeeds.map((seed) =>
    diagnose({ hosts, sick, stopMs, runMs: 1_000, times: 1, seed, parameters }),
  );
  return {
    parameters,
    sick,
    first: Samples.of(runs.flatMap(({ first }) => first.values)),
    last: Samples.of(runs.flatMap(({ last }) => last.values)),
  };
}

const names: { readonly [set in ParameterSet]: string } = { own: 'Starling', serf: "serf's parameters" };

function textOf(cells: readonly Cell[], once: readonly Once[]): string {
  const matrices = parameterSets.map((parameters) =>
    markdownTable([
      [`${names[parameters]}: stopped of ${hosts}`, ...stopsMs.map((stopMs) => `for ${stopMs} ms`)],
      ...sickCounts.map((sick) => [
        String(sick),
        ...cells
          .filter((cell) => cell.parameters === parameters && cell.sick === sick)
          .map(({ falseDowns, falseDownsByHealthy }) => `${falseDowns} / ${falseDownsByHealthy}`),
      ]),
    ]),
  );
  const latencies = markdownTable([
    ['stopped at once, p50 / p99', ...sickCounts.map((sick) => `${sick} of ${hosts}`)],
    ...parameterSets.flatMap((parameters) => [
      [`${names[parameters]}: found down by the first`, ...latenciesOf(once, parameters, 'first')],
      [`${names[parameters]}: by the last healthy one`, ...latenciesOf(once, parameters, 'last')],
    ]),
  ]);
  return [
    'How often a healthy member was found down, by anybody / by a healthy one,',
    `running for ${runsMs.join(', ')} ms between the stops, 120 s each, together:`,
    '',
    ...matrices,
    'From the stop of a process until healthy members hold it down:',
    '',
    latencies,
  ].join('\n');
}

function latenciesOf(once: readonly Once[], parameters: ParameterSet, which: 'first' | 'last'): string[] {
  return once
    .filter((row) => row.parameters === parameters)
    .map((row) => readableQuantiles(row[which], 0.5, 0.99));
}

function dataOf(cells: readonly Cell[], once: readonly Once[]): object {
  const times = (samples: Samples): object => ({
    count: samples.count,
    p50Ms: Math.round(samples.quantile(0.5) ?? 0),
    p99Ms: Math.round(samples.quantile(0.99) ?? 0),
  });
  return {
    hosts,
    runsMs,
    interval: cells,
    threshold: once.map(({ parameters, sick, first, last }) => ({
      parameters,
      sick,
      first: times(first),
      last: times(last),
    })),
  };
}

function plotOf(once: readonly Once[]): string {
  const series = (which: 'first' | 'last') =>
    parameterSets.map((parameters) => ({
      name: `${names[parameters]}, ${which}`,
      values: once.filter((row) => row.parameters === parameters).flatMap((row) => [...row[which].values]),
    }));
  return distributionPlot('A stopped process is found down by the first and by the last healthy member', [
    { unit: 'ms', series: series('first') },
    { unit: 'ms', series: series('last') },
  ]);
}
