/** May the simulated network be believed? Members with serf's parameters, beside real serf agents. */

import { readableMs, readableQuantiles, Samples } from '../report/statistics.ts';
import { markdownTable, readableBytes, type Study, type StudyTools } from '../report/study.ts';
import { distributionPlot } from '../report/svg.ts';
import { membershipBytes } from '../report/traffic.ts';
import type { ParameterSet } from '../scale/memberlist.ts';
import { runScale } from '../scale/scale.ts';

/**
 * SIGKILL of one serf 0.9.4 agent until all others know, profile `lan`, each agent a process of its own on two
 * cores: median and longest, milliseconds.
 */
export const measuredSerf: ReadonlyMap<number, { readonly p50Ms: number; readonly maxMs: number }> = new Map([
  [10, { p50Ms: 5_900, maxMs: 7_100 }],
  [30, { p50Ms: 8_000, maxMs: 11_000 }],
  [60, { p50Ms: 9_200, maxMs: 9_300 }],
]);

const seeds = 16;

const preface = `The first row is of real agents, in real time. This study does not measure it: its figures are a table in
\`sim/studies/calibration.ts\`. The percentage compares the p50 alone, not the longest.
`;

interface Outcome {
  readonly killed: Samples;
  readonly dark: Samples;
  readonly idleBytesPerSecond: number;
}

function runsOf(hosts: number, parameters: ParameterSet, { progress }: StudyTools): Outcome {
  progress(`calibration: ${hosts} hosts, ${parameters}`);
  const reports = Array.from({ length: seeds }, (_, seed) => runScale({ hosts, seed: seed + 1, parameters }));
  return {
    killed: Samples.of(reports.flatMap(({ toldAll }) => toldAll.killed.values)),
    dark: Samples.of(reports.flatMap(({ toldAll }) => toldAll.dark.values)),
    idleBytesPerSecond: Samples.of(reports.map(({ idle }) => membershipBytes(idle))).mean!,
  };
}

function middleAndMost(samples: Samples): string {
  return readableQuantiles(samples, 0.5, 1);
}

export const calibration: Study = (tools) => {
  const sizes = [...measuredSerf].map(([hosts, measured]) => ({
    hosts,
    measured,
    serf: runsOf(hosts, 'serf', tools),
    own: runsOf(hosts, 'own', tools),
  }));
  const head = ['p50 / max', ...sizes.map(({ hosts }) => `${hosts} hosts`)];
  const table = markdownTable([
    head,
    [
      'real serf 0.9.4, SIGKILL known to all',
      ...sizes.map(({ measured }) => `${readableMs(measured.p50Ms)} / ${readableMs(measured.maxMs)}`),
    ],
    [
      "simulated with serf's parameters, the same",
      ...sizes.map(
        ({ serf, measured }) =>
          `${middleAndMost(serf.killed)} (${Math.round((100 * serf.killed.quantile(0.5)!) / measured.p50Ms)} %)`,
      ),
    ],
    ['Starling simulated, SIGKILL', ...sizes.map(({ own }) => middleAndMost(own.killed))],
    ['Starling simulated, host cut off', ...sizes.map(({ own }) => middleAndMost(own.dark))],
    [
      'sent by an idle host a second, serf / Starling, both simulated',
      ...sizes.map(
        ({ serf, own }) =>
          `${readableBytes(serf.idleBytesPerSecond)} / ${readableBytes(own.idleBytesPerSecond)}`,
      ),
    ],
  ]);
  const data = sizes.map(({ hosts, measured, serf, own }) => ({
    hosts,
    measuredSerf: measured,
    simulatedSerf: summaryOf(serf),
    simulatedStarling: summaryOf(own),
  }));
  const panels = sizes.map(({ hosts, serf, own }) => ({
    unit: 'ms' as const,
    series: [
      { name: `${hosts} hosts, serf's parameters`, values: serf.killed.values },
      { name: `${hosts} hosts, Starling`, values: own.killed.values },
    ],
  }));
  return {
    text: `${preface}\n${table}`,
    data,
    svg: distributionPlot('SIGKILL until all know, simulated', panels),
  };
};

function summaryOf({ killed, dark, idleBytesPerSecond }: Outcome): object {
  const times = (samples: Samples): object => ({
    count: samples.count,
    p50Ms: Math.round(samples.quantile(0.5) ?? 0),
    maxMs: Math.round(samples.max ?? 0),
  });
  return {
    killed: times(killed),
    cutOff: times(dark),
    idleBytesPerSecond: Math.round(idleBytesPerSecond),
  };
}
