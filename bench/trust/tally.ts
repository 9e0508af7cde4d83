/** Collects one benchmark's figures, round by round, and makes rows of their medians. */
import { type Row, row } from '../rows.ts';
import { median } from '../statistics.ts';

export interface Figure {
  readonly metric: string;
  readonly unit: string;
  /** What `value` belongs to; `starling` unless said. */
  readonly subject?: string;
  readonly value: number;
  /** What the peer's value belongs to, and that value: taken in the same round. */
  readonly peer?: string;
  readonly peerValue?: number;
}

interface Line {
  readonly first: Figure;
  readonly values: number[];
  readonly peerValues: number[];
}

export class Tally {
  private readonly lines = new Map<string, Line>();

  add(figure: Figure): void {
    const key = [figure.metric, figure.subject, figure.peer].join(' ');
    const line: Line = this.lines.get(key) ?? { first: figure, values: [], peerValues: [] };
    this.lines.set(key, line);
    line.values.push(figure.value);
    if (figure.peerValue !== undefined) line.peerValues.push(figure.peerValue);
  }

  /** In the order in which their metrics were first seen. */
  rows(): Row[] {
    return [...this.lines.values()].map(({ first, values, peerValues }) => {
      const { metric, unit, subject = 'starling', peer } = first;
      return row({
        ...{ bench: 'trust', subject, metric, unit, value: median(values) },
        ...(peer === undefined || peerValues.length === 0 ? {} : { peer, peerValue: median(peerValues) }),
      });
    });
  }
}
