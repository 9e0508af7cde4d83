/** How traffic through a proxy is shown to people. */
import type { TrafficLine, TrafficReport } from '../../traffic.ts';
import { type Cell, printable, table } from './output.ts';

/** What is said where there is nothing to show. */
export const noProxy = 'this agent runs no proxy';

/** Below this share of successes a row is shown as bad. */
const badSuccessRate = 0.99;

const trafficHeader = [
  'SOURCE',
  'DESTINATION',
  'SEEN BY',
  'PROTOCOL',
  'REQUESTS',
  'SUCCESS',
  'RPS',
  'P50',
  'P95',
  'P99',
  'RETRIES',
  'DENIED',
];

/** Rates and quantiles of the last minute where there was traffic in it, else of all time. */
function trafficRow(line: TrafficLine): (string | Cell)[] {
  const denied = Object.values(line.deniedBy).reduce((sum, count) => sum + count, 0);
  const quality = line.recent.requests > 0 ? line.recent : line;
  const { successRate, p50Ms, p95Ms, p99Ms } = quality;
  const isStream = line.protocol === 'tcp';
  return [
    printable(line.source === '' ? '-' : line.source),
    printable(nameOf(line)),
    line.reporter,
    line.protocol,
    String(line.requests),
    {
      text: successRate === null ? '-' : percent(successRate),
      tone: successRate !== null && successRate < badSuccessRate ? 'bad' : 'plain',
    },
    rate(line.recent.requestsPerSecond),
    // How long connections last says nothing about how fast anything is.
    isStream ? '-' : milliseconds(p50Ms),
    isStream ? '-' : milliseconds(p95Ms),
    isStream ? '-' : milliseconds(p99Ms),
    String(line.retries),
    { text: String(denied), tone: denied > 0 ? 'warn' : 'plain' },
  ];
}

function nameOf({ destination, subset, route }: TrafficLine): string {
  const target = subset === '' ? destination : `${subset}.${destination}`;
  return route === '' ? target : `${target} (${route})`;
}

/** Rounded down, so that 100% means all of them. */
function percent(share: number): string {
  return `${(Math.floor(share * 10_000) / 100).toFixed(2)}%`;
}

function rate(perSecond: number): string {
  return perSecond === 0 ? '0' : perSecond.toFixed(perSecond < 10 ? 2 : 0);
}

function milliseconds(value: number | null): string {
  if (value === null) return '-';
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)}ms`;
}

export function trafficTable({ traffic }: TrafficReport): string {
  return table(trafficHeader, traffic.map(trafficRow));
}

/** What keeps calls from going where they should: a line for each cluster that has something to tell. */
export function troubleLines({ clusters = [], breakers = [], endpoints = [] }: TrafficReport): string[] {
  return clusters.flatMap(({ source, cluster, isPanicking, panics, overflows, retriesDenied }) => {
    const isOfIt = (one: { readonly source: string; readonly cluster: string }): boolean =>
      one.source === source && one.cluster === cluster;
    const { state: circuit = 'closed', rejected = 0 } = breakers.find(isOfIt) ?? {};
    const ejected = endpoints.filter((one) => isOfIt(one) && one.ejected).length;
    const turnedAway = Object.entries(overflows).filter(([, count]) => count > 0);
    const troubles = [
      ...(circuit === 'closed' ? [] : [`circuit ${circuit}`]),
      ...(rejected === 0 ? [] : [`${rejected} turned away by an open circuit`]),
      ...(ejected === 0 ? [] : [`${ejected} ejected`]),
      ...(isPanicking ? ['in panic: all endpoints are asked, whatever their health'] : []),
      ...(panics === 0 ? [] : [`${panics} calls in panic`]),
      ...turnedAway.map(([limit, count]) => `${count} over the limit of ${limit}`),
      ...(retriesDenied === 0 ? [] : [`${retriesDenied} retries over their budget`]),
    ];
    return troubles.length === 0
      ? []
      : [`${printable(source)} -> ${printable(cluster)}: ${troubles.join(', ')}`];
  });
}
