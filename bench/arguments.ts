/** What was asked for on the command line. */
import { parseArgs } from 'node:util';

export interface BenchCommand {
  readonly bench: 'proxy';
  /** Where to write the rows; null for nowhere. */
  readonly json: string | null;
  readonly seconds: number;
  readonly rounds: number;
}

const usage = 'usage: npm run bench -- proxy [--json FILE] [--seconds N] [--rounds N]';
const longestSeconds = 600;
const mostRounds = 100;

/** The command, or one line that says why it cannot be run. */
export function readArguments(args: readonly string[]): BenchCommand | { readonly misuse: string } {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        json: { type: 'string' },
        seconds: { type: 'string', default: '5' },
        rounds: { type: 'string', default: '3' },
      },
    });
    const [bench, ...others] = positionals;
    if (bench === undefined || others.length > 0) return { misuse: usage };
    if (['gossip', 'trust', 'policy'].includes(bench))
      return { misuse: `this version has no ${bench} benchmark, only proxy` };
    if (bench !== 'proxy') return { misuse: `no benchmark is called ${bench}; ${usage}` };
    return {
      bench,
      json: values.json ?? null,
      seconds: wholeNumber('--seconds', values.seconds, longestSeconds),
      rounds: wholeNumber('--rounds', values.rounds, mostRounds),
    };
  } catch (error) {
    return { misuse: (error as Error).message };
  }
}

function wholeNumber(flag: string, text: string, most: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > most)
    throw new RangeError(`${flag} must be a whole number from 1 to ${most}, not ${JSON.stringify(text)}`);
  return value;
}
