/**
 * `npm run durability -- [--kills N] [--cuts N] [--torn N] [--seed N] [--lanes N]`: whether an agent's store keeps what
 * it promised through kills and power cuts. Ends with 1 when it did not.
 */
import { parseArgs } from 'node:util';
import { runKills } from './kills.ts';
import type { Ledger, Totals } from './ledger.ts';
import { obstacle, runCuts, runWithOwnMounts } from './power-cuts.ts';
import { runTornStates } from './torn-states.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '500' },
    cuts: { type: 'string', default: '50' },
    torn: { type: 'string', default: '500' },
    // Set by this script for itself.
    'own-mounts': { type: 'boolean', default: false },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    lanes: { type: 'string', default: '2' },
  },
});

function wholeNumber(flag: 'kills' | 'cuts' | 'torn' | 'seed' | 'lanes'): number {
  const text = values[flag];
  if (!/^\d{1,9}$/.test(text)) {
    console.error(`--${flag} must be a whole number, not ${JSON.stringify(text)}`);
    process.exit(2);
  }
  return Number(text);
}

function sum(ledgers: readonly Ledger[], name: keyof Totals): number {
  return ledgers.reduce((total, ledger) => total + ledger.totals[name], 0);
}

function report(what: string, startedAt: number, ledgers: readonly Ledger[]): void {
  const violations = ledgers.flatMap((ledger) => ledger.violations);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(
    `${what}: ${sum(ledgers, 'starts')} starts, ${sum(ledgers, 'attempts')} changes asked for, ` +
      `${sum(ledgers, 'acknowledged')} acknowledged, ${sum(ledgers, 'unacknowledgedFound')} kept without being ` +
      `acknowledged, ${sum(ledgers, 'signed')} records signed, ${sum(ledgers, 'published')} published; ${sum(ledgers, 'damageTold')} tears told; ` +
      `${violations.length} promises broken; ${seconds} s`,
  );
  for (const violation of violations.slice(0, 50)) console.log(`  ${violation}`);
  if (violations.length > 0) process.exitCode = 1;
}

function progress(what: string, all: number): (done: number, violations: number) => void {
  return (done, violations) => {
    if (process.stderr.isTTY || done % 50 === 0)
      process.stderr.write(`${done} of ${all} ${what}, ${violations} promises broken\n`);
  };
}

const kills = wholeNumber('kills');
const seed = wholeNumber('seed');
if (!values['own-mounts']) console.log(`seed ${seed}`);
if (kills > 0) {
  const startedAt = performance.now();
  const lanes = Math.max(1, wholeNumber('lanes'));
  report(
    `${kills} kills`,
    startedAt,
    await runKills({ kills, seed, lanes, progress: progress('kills', kills) }),
  );
}
const cuts = wholeNumber('cuts');
if (cuts > 0 && values['own-mounts']) {
  const startedAt = performance.now();
  report(`${cuts} power cuts`, startedAt, await runCuts({ cuts, seed, progress: progress('cuts', cuts) }));
} else if (cuts > 0) {
  const problem = await obstacle();
  const same = ['--kills=0', '--torn=0', `--cuts=${cuts}`, `--seed=${seed}`, '--own-mounts'];
  if (problem !== null) console.error(`no power cuts: ${problem}; leave them out with --cuts 0`);
  if (problem !== null || (await runWithOwnMounts(import.meta.filename, ...same)) !== 0) process.exitCode = 1;
}
const torn = wholeNumber('torn');
if (torn > 0) {
  const startedAt = performance.now();
  const options = { states: torn, statesPerLife: 40, seed, progress: progress('torn states', torn) };
  report(`${torn} torn states`, startedAt, await runTornStates(options));
}
