/** Turns Prometheus text into the JSON of Consul's `agent/metrics`, for clients that read only that. */

interface Sample {
  readonly Name: string;
  readonly Value: number;
  readonly Labels: { readonly [name: string]: string };
}

const line = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+\d+)?$/;

function labelsOf(text: string | undefined): { [name: string]: string } {
  const labels: { [name: string]: string } = {};
  for (const [, name, value] of (text ?? '').matchAll(/([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g))
    labels[name!] = value!.replace(/\\(.)/g, (_all, char: string) => (char === 'n' ? '\n' : char));
  return labels;
}

/** Gauges and counters as Consul prints them; histograms appear as their `_bucket`, `_sum`, `_count`. */
export function consulMetrics(prometheus: string, nowMs: number): object {
  const types = new Map<string, string>();
  const gauges: Sample[] = [];
  const counters: object[] = [];
  for (const row of prometheus.split('\n')) {
    const type = /^# TYPE (\S+) (\S+)/.exec(row);
    if (type !== null) types.set(type[1]!, type[2]!);
    const match = row.startsWith('#') ? null : line.exec(row);
    const value = Number(match?.[3]);
    if (match === null || !Number.isFinite(value)) continue;
    const name = match[1]!;
    const labels = labelsOf(match[2]);
    if (types.get(name) === 'counter')
      counters.push({
        Name: name,
        Count: value,
        Rate: 0,
        Sum: value,
        Min: 0,
        Max: value,
        Mean: 0,
        Stddev: 0,
        Labels: labels,
      });
    else gauges.push({ Name: name, Value: value, Labels: labels });
  }
  const timestamp = `${new Date(nowMs).toISOString().replace('T', ' ').slice(0, 19)} +0000 UTC`;
  return { Timestamp: timestamp, Gauges: gauges, Points: [], Counters: counters, Samples: [] };
}
