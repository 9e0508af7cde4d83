/** What was asked for on the command line. */
import { parseArgs } from 'node:util';
import { type Measurement, measurements } from './gossip/measurements.ts';
import { type ProxyMeasurement, proxyMeasurements } from './proxy/measurements.ts';
import { type PeerName, peerNames } from './proxy/peer-names.ts';
import { type TrustMeasurement, trustMeasurements } from './trust/measurements.ts';

export interface ProxyCommand {
  readonly bench: 'proxy';
  /** Where to write the rows; null for nowhere. */
  readonly json: string | null;
  /** Length of each measurement. */
  readonly seconds: number;
  readonly rounds: number;
  /** In the order in which they run. */
  readonly only: readonly ProxyMeasurement[];
  readonly peers: readonly PeerName[];
}

export interface GossipCommand {
  readonly bench: 'gossip';
  readonly json: string | null;
  /** Sizes of the mesh, each measured by itself. */
  readonly sizes: readonly number[];
  /** How often each size is measured; who begins alternates. */
  readonly rounds: number;
  /** In the order in which they run. */
  readonly only: readonly Measurement[];
}

export interface TrustCommand {
  readonly bench: 'trust';
  readonly json: string | null;
  /** How many trustees, each number measured by itself. */
  readonly sizes: readonly number[];
  readonly rounds: number;
  /** In the order in which they run. */
  readonly only: readonly TrustMeasurement[];
}

export interface PolicyCommand {
  readonly bench: 'policy';
  readonly json: string | null;
  readonly rounds: number;
}

export type BenchCommand = ProxyCommand | GossipCommand | TrustCommand | PolicyCommand;

const usage =
  'usage: npm run bench -- proxy [--seconds N] [--rounds N] [--json FILE] ' +
  `[--only ${proxyMeasurements.join(',')}] [--peers ${peerNames.join(',')}] | ` +
  `gossip [--n 10,30] [--only ${measurements.join(',')}] [--rounds N] [--json FILE] | ` +
  `trust [--n 3,5,7] [--only ${trustMeasurements.join(',')}] [--rounds N] [--json FILE] | ` +
  'policy [--rounds N] [--json FILE]';
const longestSeconds = 600;
const mostRounds = 100;
/** Two would leave nobody to ask for an indirect probe; each host has a network 10.77.N.0/24 of its own. */
const leastAgents = 3;
const mostAgents = 200;
/** So many share a root by default, of as many hosts or one more. */
const trusteeCounts = [3, 5, 7];

/** The command, or one line that says why it cannot be run. */
export function readArguments(args: readonly string[]): BenchCommand | { readonly misuse: string } {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        json: { type: 'string' },
        seconds: { type: 'string' },
        rounds: { type: 'string' },
        n: { type: 'string' },
        only: { type: 'string' },
        peers: { type: 'string' },
      },
    });
    const [bench, ...others] = positionals;
    if (bench === undefined || others.length > 0) return { misuse: usage };
    if (bench === 'proxy') return proxyCommand(values);
    if (bench === 'gossip') return gossipCommand(values);
    if (bench === 'trust') return trustCommand(values);
    if (bench === 'policy') return policyCommand(values);
    return { misuse: `no benchmark is called ${bench}; ${usage}` };
  } catch (error) {
    return { misuse: (error as Error).message };
  }
}

interface Flags {
  readonly json?: string | undefined;
  readonly seconds?: string | undefined;
  readonly rounds?: string | undefined;
  readonly n?: string | undefined;
  readonly only?: string | undefined;
  readonly peers?: string | undefined;
}

function proxyCommand(flags: Flags): ProxyCommand {
  refuse('proxy', 'gossip and trust', { '--n': flags.n });
  return {
    bench: 'proxy',
    json: flags.json ?? null,
    seconds: wholeNumber('--seconds', flags.seconds ?? '5', 1, longestSeconds),
    rounds: wholeNumber('--rounds', flags.rounds ?? '3', 1, mostRounds),
    only: chosen('--only', flags.only, proxyMeasurements),
    peers: chosen('--peers', flags.peers, peerNames),
  };
}

function gossipCommand(flags: Flags): GossipCommand {
  refuse('gossip', 'proxy', { '--seconds': flags.seconds, '--peers': flags.peers });
  const sizes = (flags.n ?? '30').split(',').map((text) => wholeNumber('--n', text, leastAgents, mostAgents));
  return {
    bench: 'gossip',
    json: flags.json ?? null,
    sizes: [...new Set(sizes)],
    rounds: wholeNumber('--rounds', flags.rounds ?? '1', 1, mostRounds),
    only: chosen('--only', flags.only, measurements),
  };
}

function trustCommand(flags: Flags): TrustCommand {
  refuse('trust', 'proxy', { '--seconds': flags.seconds, '--peers': flags.peers });
  const sizes = (flags.n ?? trusteeCounts.join(',')).split(',').map(Number);
  if (!sizes.every((size) => trusteeCounts.includes(size)))
    throw new RangeError(`--n takes ${trusteeCounts.join(', ')}, not ${JSON.stringify(flags.n)}`);
  return {
    bench: 'trust',
    json: flags.json ?? null,
    sizes: [...new Set(sizes)],
    rounds: wholeNumber('--rounds', flags.rounds ?? '3', 1, mostRounds),
    only: chosen('--only', flags.only, trustMeasurements),
  };
}

function policyCommand(flags: Flags): PolicyCommand {
  const { json, rounds, ...others } = flags;
  for (const [flag, value] of Object.entries(others))
    if (value !== undefined) throw new RangeError(`--${flag} is not for policy`);
  return {
    bench: 'policy',
    json: json ?? null,
    rounds: wholeNumber('--rounds', rounds ?? '5', 1, mostRounds),
  };
}

function refuse(bench: string, other: string, flags: { readonly [flag: string]: string | undefined }): void {
  for (const [flag, value] of Object.entries(flags))
    if (value !== undefined) throw new RangeError(`${flag} is for ${other}, not ${bench}`);
}

/** Those of `known` that are named in `text`; all where nothing is. */
function chosen<T extends string>(flag: string, text: string | undefined, known: readonly T[]): readonly T[] {
  if (text === undefined) return known;
  const names = text.split(',');
  const unknown = names.find((name) => !known.some((one) => one === name));
  if (unknown !== undefined)
    throw new RangeError(`${flag} takes ${known.join(', ')}, not ${JSON.stringify(unknown)}`);
  return known.filter((one) => names.includes(one));
}

function wholeNumber(flag: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw new RangeError(
      `${flag} must be a whole number from ${least} to ${most}, not ${JSON.stringify(text)}`,
    );
  return value;
}
