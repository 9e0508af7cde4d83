/** Whether the simulator's publish-subscribe spreads deltas as the real gossipsub does, and how both grow. */
import { type Comparison, compare, comparisonTable, tolerance } from '../gossipsub/comparison.ts';
import { playModel } from '../gossipsub/model.ts';
import type { Spread } from '../gossipsub/tally.ts';
import { planTrial, type Trial, withMute } from '../gossipsub/trial.ts';
import { readableMs, Samples } from '../report/statistics.ts';
import { markdownTable, type Study } from '../report/study.ts';
import { distributionPlot } from '../report/svg.ts';

const sizes = [100, 200, 500, 1_000];
const seed = 1;
/** A few hosts that hear only the mute decide how much is healed: it takes several meshes to tell that. */
const healingHosts = 300;
const healingSeeds = 8;
/** No push takes so long: what comes later was told of and asked for. */
const healedMs = 50;

interface Both {
  readonly gossipsub: Spread;
  readonly model: Spread;
}

interface Size extends Both {
  readonly comparison: Comparison;
}

export const gossipsub: Study = ({ progress, playGossipsub }) => {
  const playBoth = (trial: Trial): Both => ({ gossipsub: playGossipsub(trial), model: playModel(trial) });
  const results = sizes.map((hosts): Size => {
    progress(`gossipsub: ${hosts} hosts`);
    const trial = planTrial(hosts, seed);
    const both = playBoth(trial);
    return { ...both, comparison: compare(trial, both.gossipsub, both.model) };
  });
  const healing = Array.from({ length: healingSeeds }, (_, index) => {
    progress(`gossipsub: ${healingHosts} hosts, a third of them mute, ${index + 1} of ${healingSeeds}`);
    return playBoth(withMute(planTrial(healingHosts, index + 1)));
  });
  const comparisons = results.map(({ comparison }) => comparison);
  const healed = {
    gossipsub: healedOf(healing.map((both) => both.gossipsub)),
    model: healedOf(healing.map((both) => both.model)),
  };
  return { text: textOf(comparisons, healed), data: { comparisons, healed }, svg: plotOf(results) };
};

/** What became of all deliveries of several trials that the eager mesh alone would have missed. */
interface Healed {
  /** Shares of all deliveries. */
  readonly healed: number;
  readonly missing: number;
  /** Of those that were healed. */
  readonly meanMs: number | null;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
}

function healedOf(spreads: readonly Spread[]): Healed {
  const deliveries = spreads.flatMap(({ delivery }) => delivery);
  const missing = spreads.reduce((sum, spread) => sum + spread.missing, 0);
  const late = Samples.of(deliveries.filter((tookMs) => tookMs > healedMs));
  return {
    healed: late.count / (deliveries.length + missing),
    missing: missing / (deliveries.length + missing),
    meanMs: late.mean,
    p50Ms: late.quantile(0.5),
    p99Ms: late.quantile(0.99),
  };
}

function healedTable({ gossipsub, model }: { [side in keyof Both]: Healed }): string {
  const row = (name: string, cell: (healed: Healed) => string): string[] => [
    name,
    cell(gossipsub),
    cell(model),
  ];
  return markdownTable([
    ['', 'gossipsub', 'its model'],
    row(
      `deliveries that took more than ${healedMs} ms, longer than any push`,
      ({ healed }) => `${(100 * healed).toFixed(1)} %`,
    ),
    row('how long, mean', ({ meanMs }) => readableMs(meanMs)),
    row('how long, p50 / p99', ({ p50Ms, p99Ms }) => `${readableMs(p50Ms)} / ${readableMs(p99Ms)}`),
    row('left to anti-entropy', ({ missing }) => `${(100 * missing).toFixed(2)} %`),
  ]);
}

function textOf(comparisons: readonly Comparison[], healed: { [side in keyof Both]: Healed }): string {
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

What gossipsub heals by telling of deltas and asking for them: ${healingHosts} hosts, of which a third pass nothing on,
${healingSeeds} meshes together.

${healedTable(healed)}`;
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
