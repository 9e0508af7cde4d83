/**
 * The simulator's entry: one run by itself, or many spread over the cores, each core a thread that runs this
 * same file. Exits 1 when a promise was broken, with the command that replays it. The only file of the
 * simulator that sees the real world.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { assert, Fault, messageOf } from '../src/core.ts';
import { type Arguments, hostsOf, readArguments, scaleScenario, usage } from './arguments.ts';
import { Violation } from './checks/violation.ts';
import {
  type Comparison,
  compare,
  comparedHostsDefault,
  comparisonText,
  gossipsubScenario,
} from './gossipsub/comparison.ts';
import { playGossipsub } from './gossipsub/io/process.ts';
import { playModel } from './gossipsub/model.ts';
import { planTrial } from './gossipsub/trial.ts';
import {
  type Broken,
  line,
  type PackedRow,
  pack,
  planText,
  type Row,
  summaryLine,
  toJson,
  toSvg,
  unpack,
} from './report/report.ts';
import { planOf, type RunReport, run } from './run.ts';
import { runScale } from './scale/scale.ts';
import { scenarios } from './scenarios/index.ts';
import { studies } from './studies/index.ts';

/** What the main thread tells a worker once, at its birth. */
type Assignment = Pick<Arguments, 'scenario' | 'hosts' | 'parameters'>;

/** Runs one seed; a broken promise is a result like any other. */
function runOne(assignment: Assignment, seed: number, log?: (text: string) => void): Row {
  const startedAt = performance.now();
  try {
    const report = play(assignment, assignment.hosts ?? hostsOf(seed), seed, log);
    const realMs = performance.now() - startedAt;
    return { outcome: 'kept', report, realMs, rssBytes: process.memoryUsage.rss() };
  } catch (error) {
    return broken(assignment, seed, error);
  }
}

function broken({ scenario, hosts }: Assignment, seed: number, error: unknown): Broken {
  const checker = error instanceof Violation ? error.checker : 'crash';
  const detail =
    error instanceof Violation || !(error instanceof Error) ? messageOf(error) : (error.stack ?? '');
  return { outcome: 'broken', scenario, hosts: hosts ?? hostsOf(seed), seed, checker, detail };
}

function play(
  { scenario: name, parameters }: Assignment,
  hosts: number,
  seed: number,
  log?: (text: string) => void,
): RunReport {
  if (name === scaleScenario) return runScale({ hosts, seed, parameters }).run;
  const scenario = scenarios.get(name)!;
  return run({ scenario, hosts, seed, ...(log === undefined ? {} : { log }) });
}

/** A worker's whole life: a seed comes in, its row goes out. */
function work(): void {
  const port = parentPort!;
  port.on('message', (seed: number) => port.postMessage(pack(runOne(workerData as Assignment, seed))));
}

/** What a run would do, without doing it. */
function describePlan({ scenario, hosts, seeds }: Arguments): void {
  const [seed] = seeds;
  const plan = planOf({ scenario: scenarios.get(scenario)!, hosts: hosts ?? hostsOf(seed!), seed: seed! });
  process.stdout.write(planText(plan));
}

/** One run in this thread, so that it can be traced, profiled and stepped through. */
function single(chosen: Arguments): void {
  const log = chosen.trace ? (text: string): void => void process.stderr.write(`${text}\n`) : undefined;
  const row = runOne(chosen, chosen.seeds[0]!, log);
  process.stdout.write(`${line(row)}\n`);
  finish(chosen, [row]);
}

/** Many runs, a thread for each core. Says nothing of those that keep their promises but at the end. */
function many(chosen: Arguments): void {
  const startedAt = performance.now();
  const waiting = [...chosen.seeds].reverse();
  const rows: Row[] = [];
  const lineStart = process.stdout.isTTY ? '\r' : '';
  const took = (row: Row): void => {
    rows.push(row);
    if (row.outcome === 'broken') process.stdout.write(`${lineStart}${line(row)}\n`);
    if (process.stdout.isTTY) process.stdout.write(`\r${rows.length} of ${chosen.seeds.length} runs `);
    if (rows.length < chosen.seeds.length) return;
    rows.sort((a, b) => seedOf(a) - seedOf(b));
    process.stdout.write(`${lineStart}${summaryLine(rows, performance.now() - startedAt)}\n`);
    finish(chosen, rows);
  };
  const { scenario, hosts, parameters } = chosen;
  const count = Math.min(chosen.workers ?? availableParallelism(), chosen.seeds.length);
  for (let i = 0; i < count; i++) hire({ scenario, hosts, parameters }, () => waiting.pop(), took);
}

/** A thread for one seed after the other. Where it breaks down, out of memory, another goes on with the next. */
function hire(assignment: Assignment, next: () => number | undefined, took: (row: Row) => void): void {
  let seed = next();
  if (seed === undefined) return;
  const worker = new Worker(new URL(import.meta.url), { workerData: assignment });
  worker.on('message', (row: PackedRow) => {
    took(unpack(row));
    seed = next();
    if (seed === undefined) void worker.terminate();
    else worker.postMessage(seed);
  });
  worker.on('error', (error) => {
    took(broken(assignment, seed!, error));
    hire(assignment, next, took);
  });
  worker.postMessage(seed);
}

function seedOf(row: Row): number {
  return row.outcome === 'kept' ? row.report.seed : row.seed;
}

function finish(chosen: Arguments, rows: readonly Row[]): void {
  if (chosen.json !== null) writeFileSync(chosen.json, toJson(rows));
  if (chosen.svg !== null) writeFileSync(chosen.svg, toSvg(chosen.scenario, rows));
  process.exitCode = rows.every(({ outcome }) => outcome === 'kept') ? 0 : 1;
}

/** The real gossipsub and its model, seed by seed; exits 1 where they differ by more than they may. */
function crossCheck({ hosts, seeds, json }: Arguments): void {
  const comparisons = seeds.map((seed): Comparison => {
    const trial = planTrial(hosts ?? comparedHostsDefault, seed);
    const comparison = compare(trial, playGossipsub(trial), playModel(trial));
    process.stdout.write(comparisonText(comparison));
    return comparison;
  });
  if (json !== null) writeFileSync(json, `${JSON.stringify(comparisons, null, 2)}\n`);
  process.exitCode = comparisons.every(({ disagreements }) => disagreements.length === 0) ? 0 : 1;
}

/** Runs a study and keeps what it found under docs/. */
function study(name: string): void {
  const result = studies.get(name)!({
    stopwatch: () => performance.now(),
    bytesInUse,
    progress: (text) => process.stderr.write(`${text}\n`),
    playGossipsub,
  });
  const file = (extension: string): string => join(import.meta.dirname, '../docs', `${name}.${extension}`);
  mkdirSync(join(import.meta.dirname, '../docs'), { recursive: true });
  const command = `\`npm run sim -- --study ${name}\``;
  const text = `# ${name[0]!.toUpperCase()}${name.slice(1)}\n\nAll times are virtual. Repeat with ${command}.\n\n${result.text}\n![${name}](${name}.svg)\n`;
  writeFileSync(file('md'), text);
  writeFileSync(file('json'), `${JSON.stringify(result.data, null, 2)}\n`);
  writeFileSync(file('svg'), result.svg);
  process.stdout.write(result.text);
}

/** Of this process, once garbage is collected. */
function bytesInUse(): number {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  assert(typeof collect === 'function', 'the collector can be called');
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function isArgumentError(error: unknown): boolean {
  return (
    error instanceof TypeError && String((error as { code?: unknown }).code).startsWith('ERR_PARSE_ARGS')
  );
}

function main(): void {
  try {
    const chosen = readArguments(process.argv.slice(2));
    if (chosen.study !== null) study(chosen.study);
    else if (chosen.scenario === gossipsubScenario) crossCheck(chosen);
    else if (chosen.plan) describePlan(chosen);
    else if (chosen.seeds.length === 1) single(chosen);
    else many(chosen);
  } catch (error) {
    if (!(error instanceof Fault) && !isArgumentError(error)) throw error;
    process.stderr.write(`sim: ${messageOf(error)}\n${usage}\n`);
    process.exitCode = 2;
  }
}

if (isMainThread) main();
else work();
