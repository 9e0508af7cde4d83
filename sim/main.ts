/**
 * The simulator's entry: runs scenarios over seeds, one line each, and exits 1 with the command that replays
 * the first broken promise. The only file of the simulator that sees the real world.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Fault, messageOf } from '../src/core.ts';
import { type RunReport, run } from './run.ts';
import { scenarios } from './scenarios/index.ts';
import { readableMs, type Samples } from './statistics.ts';
import { distributionPlot } from './svg.ts';
import { Violation } from './violation.ts';

const usage = `usage: npm run sim -- [--scenario ${[...scenarios.keys()].join('|')}] [--hosts N] [--seed N | --seeds A..B]
                  [--json FILE] [--svg FILE] [--trace]`;

interface Arguments {
  readonly scenario: string;
  readonly hosts: number;
  readonly seeds: readonly number[];
  readonly json: string | null;
  readonly svg: string | null;
  readonly trace: boolean;
}

/** More hosts than this have not been tried. */
const hostsMax = 10_000;

function readArguments(argv: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      scenario: { type: 'string', default: 'swarm' },
      hosts: { type: 'string', default: '50' },
      seed: { type: 'string' },
      seeds: { type: 'string' },
      json: { type: 'string' },
      svg: { type: 'string' },
      trace: { type: 'boolean', default: false },
    },
  });
  if (!scenarios.has(values.scenario)) throw new Fault('bad-option', `no scenario "${values.scenario}"`);
  const hosts = wholeNumber('hosts', values.hosts);
  if (hosts < 4 || hosts > hostsMax) throw new Fault('bad-option', `--hosts: from 4 to ${hostsMax}`);
  return {
    scenario: values.scenario,
    hosts,
    seeds: readSeeds(values.seed, values.seeds),
    json: values.json ?? null,
    svg: values.svg ?? null,
    trace: values.trace,
  };
}

function readSeeds(seed: string | undefined, seeds: string | undefined): number[] {
  if (seeds === undefined) return [wholeNumber('seed', seed ?? '1')];
  const [from, to] = seeds.split('..').map((text) => wholeNumber('seeds', text));
  if (from === undefined || to === undefined || to < from)
    throw new Fault('bad-option', `--seeds: "${seeds}" is not A..B`);
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

function wholeNumber(option: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Fault('bad-option', `--${option}: "${text}" is not a whole number`);
  return Number(text);
}

/** One run as it is kept in the JSON file. */
interface Row {
  readonly report: RunReport;
  readonly realMs: number;
  readonly rssBytes: number;
}

function line({ report, realMs }: Row): string {
  const { convergence, detection } = report;
  return [
    report.scenario.padEnd(10),
    `hosts ${report.hosts}`,
    `seed ${report.seed}`,
    `${(report.virtualMs / 1000).toFixed(0)} s in ${(realMs / 1000).toFixed(1)} s (${(report.virtualMs / realMs).toFixed(1)}x)`,
    `${report.events} events`,
    `converge p50 ${readableMs(convergence.quantile(0.5))} max ${readableMs(convergence.max)}`,
    `detect p50 ${readableMs(detection.quantile(0.5))} max ${readableMs(detection.max)}`,
    `agreed after ${readableMs(report.agreedMs)}`,
    ...(report.falseDowns > 0 ? [`false downs ${report.falseDowns}`] : []),
    `trace ${report.traceHash}`,
  ].join('  ');
}

function json(rows: readonly Row[]): string {
  const flat = rows.map(({ report, realMs, rssBytes }) => ({
    ...report,
    realMs: Math.round(realMs),
    speedup: Number((report.virtualMs / realMs).toFixed(2)),
    rssBytes,
    convergence: summary(report.convergence),
    delivery: summary(report.delivery),
    detection: summary(report.detection),
    ejection: summary(report.ejection),
  }));
  return `${JSON.stringify(flat, null, 2)}\n`;
}

function summary(samples: Samples) {
  return {
    count: samples.count,
    p50: samples.quantile(0.5),
    p99: samples.quantile(0.99),
    max: samples.max,
    unit: 'ms',
  };
}

function plot(rows: readonly Row[]): string {
  const gathered = (pick: (report: RunReport) => Samples): number[] =>
    rows.flatMap(({ report }) => [...pick(report).values]);
  const { scenario, hosts } = rows[0]!.report;
  return distributionPlot(`${scenario}, ${hosts} hosts, ${rows.length} runs`, [
    { name: 'write seen by all', values: gathered((report) => report.convergence) },
    { name: 'death seen by one', values: gathered((report) => report.detection) },
    { name: 'out of all balancers', values: gathered((report) => report.ejection) },
  ]);
}

function main(): number {
  const chosen = readArguments(process.argv.slice(2));
  const scenario = scenarios.get(chosen.scenario)!;
  const rows: Row[] = [];
  for (const seed of chosen.seeds) {
    const startedAt = performance.now();
    try {
      const report = run({
        scenario,
        hosts: chosen.hosts,
        seed,
        ...(chosen.trace ? { log: (text: string) => process.stderr.write(`${text}\n`) } : {}),
      });
      const rssBytes = process.memoryUsage.rss();
      rows.push({ report, realMs: performance.now() - startedAt, rssBytes });
      process.stdout.write(`${line(rows.at(-1)!)}\n`);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      process.stdout.write(`${scenario.name} hosts ${chosen.hosts} seed ${seed} VIOLATED ${error.message}\n`);
      process.stdout.write(
        `replay: npm run sim -- --scenario ${scenario.name} --hosts ${chosen.hosts} --seed ${seed} --trace\n`,
      );
      return 1;
    }
  }
  if (chosen.json !== null) writeFileSync(chosen.json, json(rows));
  if (chosen.svg !== null) writeFileSync(chosen.svg, plot(rows));
  return 0;
}

try {
  process.exitCode = main();
} catch (error) {
  if (!(error instanceof Fault) && !isArgumentError(error)) throw error;
  process.stderr.write(`sim: ${messageOf(error)}\n${usage}\n`);
  process.exitCode = 2;
}

function isArgumentError(error: unknown): boolean {
  return (
    error instanceof TypeError && String((error as { code?: unknown }).code).startsWith('ERR_PARSE_ARGS')
  );
}
