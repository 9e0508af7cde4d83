/** How a metric is described, and the shapes its samples come in. */
export type Samples = readonly {
  readonly labels?: { readonly [name: string]: string };
  readonly value: number;
}[];

/** Adds a metric whose samples are read at scrape. */
export type Add = (
  kind: 'counter' | 'gauge',
  name: string,
  help: string,
  labelNames: string[],
  read: () => Samples,
) => void;

export interface Counts {
  readonly [name: string]: number;
}

export const single = (value: number): Samples => [{ value }];

/** One sample a name; what is no number is left out. */
export function byName(label: string, counts: { readonly [name: string]: unknown }): Samples {
  return Object.entries(counts).flatMap(([name, value]) =>
    typeof value === 'number' ? [{ labels: { [label]: name }, value }] : [],
  );
}

/** A histogram that is counted elsewhere, in Prometheus' text form without its heading. */
export function histogramLines(
  name: string,
  labels: string,
  boundsMs: readonly number[],
  cumulative: readonly number[],
  sumMs: number,
): string[] {
  const before = labels === '' ? '' : `${labels},`;
  const whole = labels === '' ? '' : `{${labels}}`;
  return [
    ...cumulative.map(
      (count, index) => `${name}_bucket{${before}le="${boundsMs[index] ?? '+Inf'}"} ${count}`,
    ),
    `${name}_sum${whole} ${sumMs}`,
    `${name}_count${whole} ${cumulative.at(-1) ?? 0}`,
  ];
}
