/** What the simulator's command line asks for: read and checked whole before anything runs. Pure. */
import { parseArgs } from 'node:util';
import { Fault } from '../src/core.ts';
import { comparedHostsMax, comparedHostsMin, gossipsubScenario } from './gossipsub/comparison.ts';
import { type ParameterSet, parameterSets } from './scale/memberlist.ts';
import { scenarios } from './scenarios/index.ts';
import { studies } from './studies/index.ts';
import { hash32 } from './trace.ts';

/** Not whole agents: membership and dissemination alone, see scale.ts. */
export const scaleScenario = 'scale';
const names: readonly string[] = [...scenarios.keys(), scaleScenario, gossipsubScenario];

export const usage = `usage: npm run sim -- [--scenario ${[...scenarios.keys(), scaleScenario].join('|')}] [--hosts N]
                  [--parameters ${parameterSets.join('|')}, of ${scaleScenario}]
                  [--seed N | --seeds COUNT | --seeds FROM..TO] [--workers N] [--json FILE] [--svg FILE] [--trace | --plan]
       npm run sim -- --scenario ${gossipsubScenario} [--hosts ${comparedHostsMin}..${comparedHostsMax}] [--seed N | --seeds ...] [--json FILE]
       npm run sim -- --study ${[...studies.keys()].join('|')}  (writes docs/NAME.md, .json and .svg)`;

export interface Arguments {
  /** Runs that are planned already; nothing else is asked then. */
  readonly study: string | null;
  readonly scenario: string;
  /** Of membership in `scale`. */
  readonly parameters: ParameterSet;
  /** Null lets each seed choose. */
  readonly hosts: number | null;
  readonly seeds: readonly number[];
  /** Null takes as many as there are cores. */
  readonly workers: number | null;
  readonly json: string | null;
  readonly svg: string | null;
  readonly trace: boolean;
  /** Print what the run would do, and do nothing. */
  readonly plan: boolean;
}

const hostsMin = 4;
/** More hosts than this have not been tried. */
const hostsMax = 10_000;
const seedsMax = 1_000_000;
const workersMax = 256;

/** `Fault('bad-option')`, or parseArgs's own `TypeError`, for what makes no sense. */
export function readArguments(argv: readonly string[]): Arguments {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      study: { type: 'string' },
      scenario: { type: 'string', default: 'swarm' },
      hosts: { type: 'string' },
      parameters: { type: 'string', default: 'own' },
      seed: { type: 'string' },
      seeds: { type: 'string' },
      workers: { type: 'string' },
      json: { type: 'string' },
      svg: { type: 'string' },
      trace: { type: 'boolean', default: false },
      plan: { type: 'boolean', default: false },
    },
  });
  if (!names.includes(values.scenario)) throw new Fault('bad-option', `no scenario "${values.scenario}"`);
  if (values.seed !== undefined && values.seeds !== undefined)
    throw new Fault('bad-option', 'either --seed or --seeds');
  const seeds = readSeeds(values.seed, values.seeds);
  if ((values.trace || values.plan) && seeds.length > 1)
    throw new Fault('bad-option', '--trace and --plan are for one seed');
  const isPlanned = scenarios.has(values.scenario);
  if (values.plan && !isPlanned) throw new Fault('bad-option', `--plan: ${values.scenario} has none`);
  const isComparison = values.scenario === gossipsubScenario;
  if (isComparison && (values.trace || values.svg !== undefined || values.workers !== undefined))
    throw new Fault('bad-option', `${gossipsubScenario} takes no --trace, --svg or --workers`);
  const parameters = parameterSets.find((name) => name === values.parameters);
  if (parameters === undefined || (parameters !== 'own' && values.scenario !== scaleScenario))
    throw new Fault(
      'bad-option',
      `--parameters ${values.parameters}: one of ${parameterSets}, in ${scaleScenario}`,
    );
  const bounds: [number, number] = isComparison ? [comparedHostsMin, comparedHostsMax] : [hostsMin, hostsMax];
  if (values.study !== undefined && !studies.has(values.study))
    throw new Fault('bad-option', `no study "${values.study}"`);
  return {
    study: values.study ?? null,
    scenario: values.scenario,
    parameters,
    hosts: values.hosts === undefined ? null : wholeNumber('hosts', values.hosts, ...bounds),
    seeds,
    workers: values.workers === undefined ? null : wholeNumber('workers', values.workers, 1, workersMax),
    json: values.json ?? null,
    svg: values.svg ?? null,
    trace: values.trace,
    plan: values.plan,
  };
}

/** `12` means the seeds 1 to 12, `5..9` those five. */
function readSeeds(seed: string | undefined, seeds: string | undefined): number[] {
  if (seeds === undefined) return [wholeNumber('seed', seed ?? '1', 0, 999_999_999)];
  const parts = seeds.split('..');
  const bounds = parts.map((text) => wholeNumber('seeds', text, 0, 999_999_999));
  const [from, to] = parts.length === 1 ? [1, bounds[0]!] : bounds;
  if (from === undefined || to === undefined || parts.length > 2 || to < from || to - from >= seedsMax)
    throw new Fault('bad-option', `--seeds: "${seeds}" is neither COUNT nor FROM..TO`);
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

function wholeNumber(option: string, text: string, min: number, max: number): number {
  if (!/^\d{1,9}$/.test(text) || Number(text) < min || Number(text) > max)
    throw new Fault('bad-option', `--${option}: "${text}" is not a whole number from ${min} to ${max}`);
  return Number(text);
}

/** Where nobody says how many hosts: a small mesh whose size the seed decides, so that sizes are tried too. */
export function hostsOf(seed: number): number {
  return hostsMin + 1 + (hash32('hosts', String(seed)) % 16);
}

/** The command that repeats one run exactly, and shows what its agents say. */
export function replayCommand(scenario: string, hosts: number, seed: number): string {
  return `npm run sim -- --scenario ${scenario} --hosts ${hosts} --seed ${seed} --trace`;
}
