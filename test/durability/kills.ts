/** SIGKILL at random moments, again and again on the same data directories. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomInt, seededRandom } from '../../src/core.ts';
import { Ledger } from './ledger.ts';
import { inspect, live, randomLife } from './session.ts';

/** Lives on one directory before the next begins with an empty one, so that founding is struck too. */
const livesPerDirectory = 50;

export interface KillOptions {
  readonly kills: number;
  readonly seed: number;
  /** Directories worked on at a time. */
  readonly lanes: number;
  readonly progress: (done: number, violations: number) => void;
}

/** Ledgers of every directory used. */
export async function runKills({ kills, seed, lanes, progress }: KillOptions): Promise<readonly Ledger[]> {
  const home = await mkdtemp(join(tmpdir(), 'starling-kills-'));
  const ledgers: Ledger[] = [];
  let begun = 0;
  let done = 0;
  try {
    const lane = async (): Promise<void> => {
      while (begun < kills) {
        const first = begun;
        const count = Math.min(livesPerDirectory, Math.ceil(kills / lanes), kills - first);
        begun += count;
        const ledger = new Ledger();
        ledgers.push(ledger);
        const directory = join(home, `data-${first}`);
        const random = seededRandom(seed + first);
        // The first death of a directory falls into its founding, at the latest soon after.
        for (let i = 0; i < count; i++) {
          const life = randomLife(directory, random);
          const end = i === 0 ? ({ after: 'spawn', delayMs: randomInt(random, 600) } as const) : life.end;
          await live({ ...life, end }, { cache: join(home, 'cache') }, ledger, async (child) => {
            child.kill('SIGKILL');
          });
          await inspect(directory, ledger);
          done += 1;
          progress(
            done,
            ledgers.reduce((sum, { violations }) => sum + violations.length, 0),
          );
        }
        await rm(directory, { recursive: true });
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    return ledgers;
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}
