/** Puts the measurements of all rounds together and compares Starling with each of its peers. */

import { grid, type Row, readable, row } from '../rows.ts';
import { median } from '../statistics.ts';

/** Whose cost this benchmark is about; every other subject is its peer. */
export const ours = 'starling';
/** The way without any proxy. */
export const bare = 'direct';

/** A metric, as it is called in the rows, and its unit. */
export interface Metric {
  readonly name: string;
  readonly unit: string;
  /** Of a latency: what it is called without what the direct way takes. */
  readonly added?: string;
  /** Of something that only proxies have: the direct way is no peer. */
  readonly ofProxies?: boolean;
}

/** All that was measured, round by round. */
export class Results {
  readonly metrics = new Map<string, Metric>();
  private readonly subjects: readonly string[];
  private readonly values = new Map<string, number[]>();

  /** `subjects` names who is compared, in the order of the table. */
  constructor(subjects: readonly string[]) {
    this.subjects = subjects;
  }

  add(subject: string, metric: Metric, value: number): void {
    this.metrics.set(metric.name, metric);
    const key = `${subject} ${metric.name}`;
    const list = this.values.get(key);
    if (list === undefined) this.values.set(key, [value]);
    else list.push(value);
  }

  /** Over the rounds; null for what a subject was not measured in, since it cannot carry it. */
  median(subject: string, metric: Metric): number | null {
    const values = this.values.get(`${subject} ${metric.name}`);
    return values === undefined ? null : median(values);
  }

  /** Starling beside every peer in everything, and what each adds to the direct way. */
  rows(): Row[] {
    return [...this.metrics.values()].flatMap((metric) => {
      const rows = this.beside(metric.name, metric, metric.ofProxies === true, (subject) =>
        this.median(subject, metric),
      );
      if (metric.added === undefined || !this.subjects.includes(bare)) return rows;
      const added = this.beside(metric.added, metric, true, (subject) =>
        difference(this.median(subject, metric), this.median(bare, metric)),
      );
      return [...rows, ...added];
    });
  }

  private beside(
    name: string,
    { unit }: Metric,
    skipsBare: boolean,
    figureOf: (subject: string) => number | null,
  ): Row[] {
    const peers = this.subjects.filter((subject) => subject !== ours && !(skipsBare && subject === bare));
    const common = { bench: 'proxy', subject: ours, metric: name, unit, value: figureOf(ours) };
    if (peers.length === 0) return [row(common)];
    return peers.map((peer) => row({ ...common, peer, peerValue: figureOf(peer) }));
  }
}

function difference(value: number | null, from: number | null): number | null {
  return value === null || from === null ? null : value - from;
}

/** Written where a subject cannot carry what was to be measured. */
const cannot = 'no';

/** The rows with one line for each metric and one column for each subject: `no` for what one cannot carry. */
export function matrix(rows: readonly Row[]): string {
  const peers = [...new Set(rows.map(({ peer }) => peer))].filter((peer) => peer !== '');
  const metrics = [...new Set(rows.map(({ metric }) => metric))];
  const lines = metrics.map((metric) => {
    const of = rows.filter((each) => each.metric === metric);
    const cells = peers.map((peer) => {
      const found = of.find((each) => each.peer === peer);
      return found === undefined ? '-' : cell(found.peerValue);
    });
    return [metric, of[0]!.unit, cell(of[0]!.value), ...cells];
  });
  return grid(['metric', 'unit', ours, ...peers], lines);
}

function cell(value: number | null): string {
  return value === null ? cannot : readable(value);
}
