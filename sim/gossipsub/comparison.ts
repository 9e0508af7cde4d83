/** gossipsub and its model side by side: where the two differ by more than they may, the model is wrong. */
import { Samples } from '../report/statistics.ts';
import { markdownTable, readableBytes } from '../report/study.ts';
import type { Spread } from './tally.ts';
import type { Trial } from './trial.ts';

/** The command line's name for one trial of both. */
export const gossipsubScenario = 'gossipsub';
/** Fewer hosts than this are a matter of chance: one hop more or less, and a figure differs by a third. */
export const comparedHostsMin = 50;
/** Half a megabyte and some 25 ms of CPU for each. */
export const comparedHostsMax = 1_000;
export const comparedHostsDefault = 100;
/** By so much of gossipsub's own figure the model's may differ. */
export const tolerance = 0.25;

export interface Figure {
  readonly name: string;
  readonly unit: 'ms' | 'B' | null;
  readonly gossipsub: number;
  readonly model: number;
  /** What the model says too much, as a share of gossipsub's figure; below 0 where it says too little. */
  readonly difference: number;
}

export interface Comparison {
  readonly hosts: number;
  readonly seed: number;
  readonly figures: readonly Figure[];
  /** What is wrong, for people; empty where the two agree. */
  readonly disagreements: readonly string[];
  readonly traceHashes: { readonly gossipsub: string; readonly model: string };
}

export function compare({ hosts, seed }: Trial, gossipsub: Spread, model: Spread): Comparison {
  const figures = measures.map(({ name, unit, of }): Figure => {
    const [real, modelled] = [of(gossipsub), of(model)];
    return { name, unit, gossipsub: real, model: modelled, difference: modelled / real - 1 };
  });
  const missing = Object.entries({ gossipsub, model })
    .filter(([, spread]) => spread.missing > 0)
    .map(([name, spread]) => `${name}: ${spread.missing} deliveries are missing`);
  const beyond = figures
    // Nothing measured compares as not a number, which is beyond every bound.
    .filter(({ difference }) => !(Math.abs(difference) <= tolerance))
    .map(
      (figure) =>
        `${figure.name}: ${readable(figure, 'gossipsub')}, the model says ${readable(figure, 'model')}`,
    );
  const traceHashes = { gossipsub: gossipsub.traceHash, model: model.traceHash };
  return { hosts, seed, figures, disagreements: [...missing, ...beyond], traceHashes };
}

interface Measure {
  readonly name: string;
  readonly unit: Figure['unit'];
  readonly of: (spread: Spread) => number;
}

const measures: readonly Measure[] = [
  ...quantiles('at each host', ({ delivery }) => delivery),
  ...quantiles('at all hosts', ({ convergence }) => convergence),
  { name: 'copies of it that a host gets', unit: null, of: ({ copies }) => copies },
  {
    name: 'sent by a host for it, mean',
    unit: 'B',
    of: ({ bytesPerDelta }) => Samples.of(bytesPerDelta).mean!,
  },
  {
    name: 'sent by a host for it, max',
    unit: 'B',
    of: ({ bytesPerDelta }) => Samples.of(bytesPerDelta).max!,
  },
  { name: 'peers that a host relays to', unit: null, of: ({ meshPeers }) => meshPeers },
];

function quantiles(where: string, values: (spread: Spread) => readonly number[]): Measure[] {
  const shares = { p50: 0.5, p99: 0.99, max: 1 };
  return Object.entries(shares).map(([label, share]) => ({
    name: `a delta ${where}, ${label}`,
    unit: 'ms',
    of: (spread) => Samples.of(values(spread)).quantile(share) ?? Number.NaN,
  }));
}

/** `13.4 ms`, `2.9 kB` or `2.44`, with `(+3 %)` after what the model says. */
export function readable({ unit, difference, ...sides }: Figure, side: 'gossipsub' | 'model'): string {
  const value = sides[side];
  const text =
    unit === 'ms' ? `${value.toFixed(1)} ms` : unit === 'B' ? readableBytes(value) : value.toFixed(2);
  if (side === 'gossipsub') return text;
  const percent = Math.round(100 * difference);
  return `${text} (${percent < 0 ? '' : '+'}${percent} %)`;
}

/** Comparisons of several sizes, two columns each. */
export function comparisonTable(comparisons: readonly Comparison[]): string {
  const head = comparisons.flatMap(({ hosts }) => [
    `${hosts.toLocaleString('en')} hosts, gossipsub`,
    'its model',
  ]);
  const rows = measures.map(({ name }, index) => [
    name,
    ...comparisons.flatMap(({ figures }) => {
      const figure = figures[index]!;
      return [readable(figure, 'gossipsub'), readable(figure, 'model')];
    }),
  ]);
  return markdownTable([['', ...head], ...rows]);
}

/** One comparison as the command line shows it; what is wrong comes with the command that replays it. */
export function comparisonText(comparison: Comparison): string {
  const { hosts, seed, disagreements, traceHashes } = comparison;
  const verdict =
    disagreements.length === 0
      ? [`all within ${100 * tolerance} %`]
      : [
          ...disagreements.map((disagreement) => `DISAGREES ${disagreement}`),
          `replay: npm run sim -- --scenario ${gossipsubScenario} --hosts ${hosts} --seed ${seed}`,
        ];
  return [
    `${comparisonTable([comparison])}seed ${seed}  trace ${traceHashes.gossipsub}  model's ${traceHashes.model}`,
    ...verdict,
    '',
  ].join('\n');
}
