/** Whether the simulator's publish-subscribe spreads deltas as the real gossipsub does, and how both grow. */
import { type Comparison, compare, comparisonTable, tolerance } from '../gossipsub/comparison.ts';
import { playModel } from '../gossipsub/model.ts';
import type { Spread } from '../gossipsub/tally.ts';
import { planTrial } from '../gossipsub/trial.ts';
import type { Study } from '../study.ts';
import { distributionPlot } from '../svg.ts';

const sizes = [100, 200, 500, 1_000];
const seed = 1;

interface Size {
  readonly comparison: Comparison;
  readonly gossipsub: Spread;
  readonly model: Spread;
}

export const gossipsub: Study = ({ progress, playGossipsub }) => {
  const results = sizes.map((hosts): Size => {
    progress(`gossipsub: ${hosts} hosts`);
    const trial = planTrial(hosts, seed);
    const spreads = { gossipsub: playGossipsub(trial), model: playModel(trial) };
    return { ...spreads, comparison: compare(trial, spreads.gossipsub, spreads.model) };
  });
  const comparisons = results.map(({ comparison }) => comparison);
  return { text: textOf(comparisons), data: comparisons, svg: plotOf(results) };
};

function textOf(comparisons: readonly Comparison[]): string {
  const beyond = comparisons.flatMap(({ hosts, disagreements }) =>
    disagreements.map((disagreement) => `- ${hosts} hosts: ${disagreement}\n`),
  );
  return `The gossipsub that agents run, with their settings, under virtual time, beside the simulator's model of it:
100 deltas of 1.1 kB from random hosts over the same connections, which are those of a real active view, with
paths of the same delay. In brackets what the model says too much or too little. It counts deltas alone,
gossipsub's bytes are all that it writes: its framing and what it tells of deltas are among them.

${comparisonTable(comparisons)}
${beyond.length === 0 ? `No figure differs by more than ${100 * tolerance} %.\n` : `Too far apart:\n\n${beyond.join('')}`}
One size alone: \`npm run sim -- --scenario gossipsub --hosts 1000\`, which exits 1 where the two differ by more.
`;
}

function plotOf(results: readonly Size[]): string {
  const both = (values: (spread: Spread) => readonly number[], { comparison, ...spreads }: Size) => [
    { name: `gossipsub, ${comparison.hosts} hosts`, values: values(spreads.gossipsub) },
    { name: `its model, ${comparison.hosts} hosts`, values: values(spreads.model) },
  ];
  return distributionPlot('A delta at each host, and what each host sends for it: gossipsub and its model', [
    ...results.map((size) => ({ unit: 'ms' as const, series: both(({ delivery }) => delivery, size) })),
    { unit: 'B', series: both(({ bytesPerDelta }) => bytesPerDelta, results.at(-1)!) },
  ]);
}
