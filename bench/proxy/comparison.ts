/** Puts the measurements of all rounds together and compares the subjects. */

import { type Row, row } from '../rows.ts';
import { median } from '../statistics.ts';
import type { Reply } from './backend.ts';

/** All that was measured, round by round. */
export class Results {
  private readonly values = new Map<string, number[]>();

  add(subject: string, reply: Reply, metric: string, value: number): void {
    const key = `${subject} ${reply.size} ${metric}`;
    const list = this.values.get(key);
    if (list === undefined) this.values.set(key, [value]);
    else list.push(value);
  }

  median(subject: string, reply: Reply, metric: string): number {
    return median(this.values.get(`${subject} ${reply.size} ${metric}`) ?? []);
  }
}

/** Starling beside HAProxy in everything, and beside the direct way in latency, which is what a proxy adds. */
export function compare(results: Results, reply: Reply): Row[] {
  const of = (subject: string, metric: string): number => results.median(subject, reply, metric);
  const added = (subject: string, metric: string): number => of(subject, metric) - of('direct', metric);
  const make = (peer: string, metric: string, unit: string, value: number, peerValue: number): Row =>
    row({
      ...{ bench: 'proxy', subject: 'starling', peer, metric: `${metric}-${reply.size}` },
      ...{ unit, value, peerValue },
    });
  const beside = (peer: string, name: string, metric: string, unit: string): Row =>
    make(peer, name, unit, of('starling', metric), of(peer, metric));
  const haproxy = 'haproxy-h2';
  return [
    beside(haproxy, 'cpu-per-request', 'cpu', 'us'),
    beside(haproxy, 'throughput', 'throughput', 'requests/s'),
    ...['p50', 'p99'].flatMap((metric) => [
      beside(haproxy, `latency-${metric}`, metric, 'ms'),
      beside('direct', `latency-${metric}`, metric, 'ms'),
      make(haproxy, `added-latency-${metric}`, 'ms', added('starling', metric), added(haproxy, metric)),
    ]),
  ];
}
