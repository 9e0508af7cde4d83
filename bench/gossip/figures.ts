/** Puts what was measured of the two programs side by side. */
import { type Row, row } from '../rows.ts';
import { median, quantile } from '../statistics.ts';
import type { JoinTimes } from './cluster.ts';
import type { Freeze } from './freeze.ts';
import type { Idle } from './idle.ts';
import type { Loss, LossTimes } from './loss.ts';
import type { Spread } from './spread.ts';

/** All that was measured of one program at one size; a list has one item a round. */
export class Figures {
  readonly joins: JoinTimes[] = [];
  readonly idles: Idle[] = [];
  readonly freezes: Freeze[] = [];
  readonly spreads = new Map<string, Spread[]>();
  readonly losses = new Map<Loss, LossTimes[]>();

  addSpread(kind: string, spread: Spread): void {
    this.spreads.set(kind, [...(this.spreads.get(kind) ?? []), spread]);
  }

  addLoss(loss: Loss, times: LossTimes): void {
    this.losses.set(loss, [...(this.losses.get(loss) ?? []), times]);
  }
}

/** NaN stands for no value. */
type MakeRow = (metric: string, unit: string, value: number, peerValue: number, peer?: string) => Row;

/** Starling beside serf, which has two ways to tell a change; what was not measured has no rows. */
export function compare(size: number, starling: Figures, serf: Figures): Row[] {
  const make: MakeRow = (metric, unit, value, peerValue, peer = 'serf') =>
    row({
      ...{ bench: 'gossip', subject: 'starling', peer, metric: `${metric}-n${size}`, unit, value },
      ...(Number.isNaN(peerValue) ? {} : { peerValue }),
    });
  return [
    ...joinRows(make, starling, serf),
    ...idleRows(make, starling, serf),
    ...spreadRows(make, starling, serf),
    ...lossRows(make, starling, serf),
    ...freezeRows(make, starling, serf),
  ].filter(({ value }) => !Number.isNaN(value));
}

function joinRows(make: MakeRow, { joins: ours }: Figures, { joins: theirs }: Figures): Row[] {
  if (ours.length === 0 || theirs.length === 0) return [];
  const of = (metric: string, unit: string, pick: (join: JoinTimes) => number): Row =>
    make(metric, unit, median(ours.map(pick)), median(theirs.map(pick)));
  return [
    of('join-seen-by-all', 'ms', (it) => it.allMs),
    of('join-cpu', 's', (it) => it.joinCpuSeconds),
    of('start-cpu', 's', (it) => it.startCpuSeconds),
    of('join-gave-up', 'agents', (it) => it.gaveUp.length),
  ];
}

function idleRows(make: MakeRow, { idles: ours }: Figures, { idles: theirs }: Figures): Row[] {
  if (ours.length === 0 || theirs.length === 0) return [];
  const of = (metric: string, unit: string, pick: (idle: Idle) => number): Row =>
    make(metric, unit, median(ours.map(pick)), median(theirs.map(pick)));
  return [
    of('idle-sent', 'B/s', (it) => it.bytesPerSecond),
    of('idle-sent-packets', '1/s', (it) => it.packetsPerSecond),
    of('idle-cpu', '%', (it) => it.cpuShare * 100),
    of('idle-rss', 'MB', (it) => it.residentBytes / 1e6),
  ];
}

function spreadRows(make: MakeRow, starling: Figures, serf: Figures): Row[] {
  return [...starling.spreads].flatMap(([kind, ours]) =>
    [...serf.spreads].flatMap(([peerKind, theirs]) => {
      const of = (metric: string, unit: string, pick: (spreads: readonly Spread[]) => number): Row =>
        make(metric, unit, pick(ours), pick(theirs), `serf-${peerKind}`);
      const last = (spreads: readonly Spread[]): number[] => spreads.flatMap(({ lastMs }) => lastMs);
      const each = (spreads: readonly Spread[]): number[] => spreads.flatMap(({ eachMs }) => eachMs);
      const missed = (spreads: readonly Spread[]): number => sum(spreads.map(({ incomplete }) => incomplete));
      const cost = (spreads: readonly Spread[]): number =>
        median(spreads.map((it) => it.cpuMicrosecondsPerDelivery));
      const name = `${kind}-seen`;
      return [
        of(`${name}-by-all-p50`, 'ms', (them) => quantileOr(last(them), 0.5)),
        of(`${name}-by-all-p99`, 'ms', (them) => quantileOr(last(them), 0.99)),
        of(`${name}-by-one-p50`, 'ms', (them) => quantileOr(each(them), 0.5)),
        of(`${name}-missed`, 'changes', missed),
        of(`${name}-cpu-per-delivery`, 'us', cost),
      ];
    }),
  );
}

function lossRows(make: MakeRow, starling: Figures, serf: Figures): Row[] {
  return [...starling.losses].flatMap(([loss, ours]) => {
    const theirs = serf.losses.get(loss);
    if (theirs === undefined) return [];
    const of = (metric: string, unit: string, pick: (times: readonly LossTimes[]) => number): Row =>
      make(`${loss}-${metric}`, unit, pick(ours), pick(theirs));
    const first = (times: readonly LossTimes[]): number[] => times.flatMap(({ firstMs }) => firstMs);
    const last = (times: readonly LossTimes[]): number[] => times.flatMap(({ lastMs }) => lastMs);
    const back = (times: readonly LossTimes[]): number[] => times.flatMap(({ backMs }) => backMs);
    return [
      of('known-by-one-p50', 'ms', (them) => quantileOr(first(them), 0.5)),
      of('known-by-all-p50', 'ms', (them) => quantileOr(last(them), 0.5)),
      of('known-by-all-max', 'ms', (them) => quantileOr(last(them), 1)),
      of('missed', 'losses', (them) => sum(them.map(({ incomplete }) => incomplete))),
      of('back-by-all-p50', 'ms', (them) => quantileOr(back(them), 0.5)),
    ];
  });
}

function freezeRows(make: MakeRow, { freezes: ours }: Figures, { freezes: theirs }: Figures): Row[] {
  if (ours.length === 0 || theirs.length === 0) return [];
  const of = (metric: string, unit: string, pick: (freeze: Freeze) => number): Row =>
    make(`freeze-${metric}`, unit, median(ours.map(pick)), median(theirs.map(pick)));
  return [
    of('healthy-declared-down', 'members', (it) => it.healthyDown),
    of('false-downs', 'verdicts', (it) => it.falseDowns),
    of('false-downs-by-healthy', 'verdicts', (it) => it.falseDownsOfHealthy),
    of('false-suspicions', 'verdicts', (it) => it.falseSuspicions),
    of('back-by-all', 'ms', (it) => it.backMs),
  ];
}

/** NaN when nothing was seen at all: the count of those that were missed says so. */
function quantileOr(values: readonly number[], share: number): number {
  return values.length === 0 ? Number.NaN : quantile(values, share);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
