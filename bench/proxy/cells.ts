/** What is measured on every subject in every round, each under the names its figures have in the rows. */
import type { Stage } from '../stage.ts';
import { type Reply, replies } from './backend.ts';
import type { Metric } from './comparison.ts';
import { callThrough } from './grpc.ts';
import { pace, type SaturationResult, saturate } from './load.ts';
import type { ProxyMeasurement } from './measurements.ts';
import type { Kind, Subject } from './subject.ts';
import { pourThrough } from './tcp.ts';

export interface Figure {
  readonly metric: Metric;
  readonly value: number;
}

export interface Cell {
  readonly name: string;
  readonly kind: Kind;
  /** Rejects with `CannotCarry` when the subject does not keep up or fails. */
  measure(stage: Stage, subject: Subject, seconds: number): Promise<readonly Figure[]>;
}

/** Connections the client keeps open: few and busy, and many that each do little. */
const connectionCounts = [32, 512];
/** Requests a second at which latency is measured: quiet, and busy but far from what the proxies can carry. */
const rates = [1000, 3000];

export function cellsOf(only: readonly ProxyMeasurement[]): Cell[] {
  const cells: Cell[] = [];
  for (const reply of replies) {
    if (only.includes('load')) for (const count of connectionCounts) cells.push(loadCell(reply, count));
    if (only.includes('pace')) for (const rate of rates) cells.push(paceCell(reply, rate));
  }
  if (only.includes('grpc')) cells.push(grpcCell);
  if (only.includes('tcp')) cells.push(tcpCell);
  return cells;
}

function loadCell(reply: Reply, connections: number): Cell {
  const name = `${reply.size}-${connections}c`;
  return {
    name,
    kind: 'http',
    measure: async (stage, subject, seconds) =>
      costFigures(await saturate(stage, subject, { reply, connections }, seconds), name),
  };
}

function costFigures({ requestsPerSecond, cpuMicroseconds }: SaturationResult, name: string): Figure[] {
  const cpu = { name: `cpu-per-request-${name}`, unit: 'us', ofProxies: true };
  const throughput = { metric: { name: `throughput-${name}`, unit: 'requests/s' }, value: requestsPerSecond };
  if (cpuMicroseconds.length === 0) return [throughput];
  return [{ metric: cpu, value: cpuMicroseconds.reduce((sum, each) => sum + each, 0) }, throughput];
}

function paceCell(reply: Reply, rate: number): Cell {
  const name = `${reply.size}-at-${rate}`;
  const metric = (quantile: string): Metric => ({
    ...{ name: `latency-${quantile}-${name}`, unit: 'ms' },
    added: `added-latency-${quantile}-${name}`,
  });
  return {
    name,
    kind: 'http',
    async measure(stage, subject, seconds) {
      const { p50Ms, p99Ms } = await pace(stage, subject, reply, seconds, rate);
      return [
        { metric: metric('p50'), value: p50Ms },
        { metric: metric('p99'), value: p99Ms },
      ];
    },
  };
}

const grpcCell: Cell = {
  name: 'grpc-unary',
  kind: 'grpc',
  measure: async (stage, subject, seconds) =>
    costFigures(await callThrough(stage, subject, subject.endpoints.grpc!, seconds), 'grpc-unary'),
};

const tcpCell: Cell = {
  name: 'tcp',
  kind: 'tcp',
  async measure(stage, subject, seconds) {
    const result = await pourThrough(stage, subject, subject.endpoints.tcp!, seconds);
    const throughput = { name: 'tcp-throughput', unit: 'MB/s' };
    const cpu = { name: 'tcp-cpu', unit: 's/GB', ofProxies: true };
    const figures = [{ metric: throughput, value: result.megabytesPerSecond }];
    return subject.proxies.length === 0
      ? figures
      : [...figures, { metric: cpu, value: result.cpuSecondsPerGigabyte }];
  },
};
