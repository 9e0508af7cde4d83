/**
 * What every Node process tells Prometheus, under prom-client's names. Two of its groups are made here instead: its
 * processor time begins when it is asked for the first time, and its lag of the event loop is the whole interval
 * between two samples, which tells nothing of an idle agent that is sampled seldom.
 */
import { type Histogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { Counter, collectDefaultMetrics, Gauge, type Registry } from 'prom-client';

/** How often the event loop's delay is sampled: each wakes the process. */
const loopSampleMs = 100;
/** The longest interval there is: the library's own sampling, which nothing reads, wakes nobody. */
const neverMs = 2 ** 31 - 1;

const lagName = (figure: string): string => `nodejs_eventloop_lag${figure}_seconds`;

/** From a delay in nanoseconds, which contains the interval between two samples, to the seconds it was late. */
function lagSeconds(delayNs: number): number {
  return Math.max(0, delayNs - loopSampleMs * 1e6) / 1e9;
}

type Delay = Pick<Histogram, 'count' | 'min' | 'max' | 'mean' | 'stddev' | 'percentile' | 'reset'>;

/** Of what was sampled since the scrape before. */
const lagFigures: readonly {
  readonly figure: string;
  readonly help: string;
  readonly read: (delay: Delay) => number;
}[] = [
  { figure: '_min', help: 'The least lag', read: ({ min }) => lagSeconds(min) },
  { figure: '_max', help: 'The greatest lag', read: ({ max }) => lagSeconds(max) },
  { figure: '_mean', help: 'The mean lag', read: ({ mean }) => lagSeconds(mean) },
  { figure: '_stddev', help: 'The standard deviation of the lag', read: ({ stddev }) => stddev / 1e9 },
  ...[50, 90, 99].map((rank) => ({
    figure: `_p${rank}`,
    help: `The ${rank}th percentile of the lag`,
    read: (delay: Delay) => lagSeconds(delay.percentile(rank)),
  })),
];

export function processMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: neverMs });
  processorTime(registry);
  const delay = monitorEventLoopDelay({ resolution: loopSampleMs });
  delay.enable();
  loopLag(registry, delay);
}

/** Of all threads, since the process began. */
function processorTime(registry: Registry): void {
  const kinds = [
    { name: 'process_cpu_user_seconds_total', what: 'user', read: ({ user }: NodeJS.CpuUsage) => user },
    {
      name: 'process_cpu_system_seconds_total',
      what: 'system',
      read: ({ system }: NodeJS.CpuUsage) => system,
    },
    {
      name: 'process_cpu_seconds_total',
      what: 'user and system',
      read: ({ user, system }: NodeJS.CpuUsage) => user + system,
    },
  ];
  for (const { name, what, read } of kinds) {
    registry.removeSingleMetric(name);
    new Counter({
      name,
      help: `Total ${what} CPU time spent in seconds.`,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(read(process.cpuUsage()) / 1e6);
      },
    });
  }
}

/** While nothing was sampled since the scrape before, the figures stay; until the first sample there are none. */
export function loopLag(registry: Registry, delay: Delay): void {
  registry.removeSingleMetric(lagName(''));
  const figures: { readonly gauge: Gauge; readonly read: (delay: Delay) => number }[] = [];
  new Gauge({
    name: lagName(''),
    help: 'Lag of event loop in seconds.',
    registers: [registry],
    // Asked first, it sets what those below tell.
    async collect() {
      if (delay.count > 0) {
        for (const { gauge, read } of figures) gauge.set(read(delay));
        delay.reset();
      }
      const asked = performance.now();
      await setImmediate();
      this.set((performance.now() - asked) / 1e3);
    },
  });
  for (const { figure, help, read } of lagFigures) {
    const name = lagName(figure);
    registry.removeSingleMetric(name);
    const gauge = new Gauge({ name, help: `${help} of the event loop.`, registers: [registry] });
    gauge.remove();
    figures.push({ gauge, read });
  }
}
