/** Sums of traffic rows: over the workers of one host, and over what a reader does not tell apart. Pure. */
import type { TrafficRow } from '../dataplane.ts';
import { addCounts } from './histogram.ts';

/** Rows that are about the same, as one. */
export function mergeTraffic(rows: readonly TrafficRow[]): TrafficRow[] {
  return mergeBy(rows, (row) => [...pairOf(row), row.route]);
}

/** As `mergeTraffic`, without telling routes apart. */
export function mergeRoutes(rows: readonly TrafficRow[]): TrafficRow[] {
  return mergeBy(rows, pairOf).map((row) => ({ ...row, route: '' }));
}

function pairOf({ reporter, source, destination, protocol, subset }: TrafficRow): string[] {
  return [reporter, source, destination, protocol, subset];
}

function mergeBy(rows: readonly TrafficRow[], keyOf: (row: TrafficRow) => string[]): TrafficRow[] {
  const merged = new Map<string, TrafficRow>();
  for (const row of rows) {
    const key = keyOf(row).join(' ');
    const known = merged.get(key);
    merged.set(key, known === undefined ? row : add(known, row));
  }
  return [...merged.values()];
}

function add(a: TrafficRow, b: TrafficRow): TrafficRow {
  return {
    ...a,
    sourcePrincipal: a.sourcePrincipal || b.sourcePrincipal,
    destinationPrincipal: a.destinationPrincipal || b.destinationPrincipal,
    byClass: addLists(a.byClass, b.byClass),
    responses: addResponses(a.responses, b.responses),
    refused: addNamed(a.refused, b.refused),
    deniedBy: addNamed(a.deniedBy, b.deniedBy),
    opened: a.opened + b.opened,
    retries: a.retries + b.retries,
    mirrored: a.mirrored + b.mirrored,
    mirrorsSkipped: a.mirrorsSkipped + b.mirrorsSkipped,
    bytesSent: a.bytesSent + b.bytesSent,
    bytesReceived: a.bytesReceived + b.bytesReceived,
    durations: addCounts(a.durations, b.durations),
    requestSizes: addCounts(a.requestSizes, b.requestSizes),
    responseSizes: addCounts(a.responseSizes, b.responseSizes),
    recent: {
      overMs: Math.max(a.recent.overMs, b.recent.overMs),
      byClass: addLists(a.recent.byClass, b.recent.byClass),
      durations: addCounts(a.recent.durations, b.recent.durations),
    },
  };
}

function addLists(a: readonly number[], b: readonly number[]): number[] {
  return a.map((count, index) => count + b[index]!);
}

function addResponses(a: TrafficRow['responses'], b: TrafficRow['responses']): TrafficRow['responses'] {
  const merged = [...a];
  for (const response of b) {
    const index = merged.findIndex(
      ({ status, flags, grpcStatus }) =>
        status === response.status && flags === response.flags && grpcStatus === response.grpcStatus,
    );
    if (index < 0) merged.push(response);
    else merged[index] = { ...response, count: merged[index]!.count + response.count };
  }
  return merged;
}

function addNamed(
  a: Readonly<{ [name: string]: number }>,
  b: Readonly<{ [name: string]: number }>,
): { [name: string]: number } {
  const sum = { ...a };
  for (const [name, count] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + count;
  return sum;
}
