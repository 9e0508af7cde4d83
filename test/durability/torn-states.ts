/**
 * Power cuts on the most hostile disk that a file system's promises allow: the file operations of writers are
 * traced, and for random moments in a trace, states that the disk may then be in are made and opened.
 */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Fault, type Random, randomInt, seededRandom } from '../../src/core.ts';
import { Ledger } from './ledger.ts';
import { readLine } from './lines.ts';
import { type Held, inspect, live } from './session.ts';
import { TornDisk } from './torn-disk.ts';
import { readTrace, straceArguments, type Traced } from './trace.ts';

const run = promisify(execFile);
/** Lives traced on one directory, the first of which founds it. */
const livesPerDirectory = 3;
const workMs = 150;

export interface TornOptions {
  readonly states: number;
  readonly statesPerLife: number;
  readonly seed: number;
  readonly progress: (done: number, violations: number) => void;
}

/** Ledgers of every life traced and every state looked at. Faults: `no-trace`. */
export async function runTornStates(options: TornOptions): Promise<readonly Ledger[]> {
  const { states, statesPerLife, seed, progress } = options;
  await run('strace', ['-V']).catch((error: unknown) => {
    throw new Fault('no-trace', 'file operations are traced by strace, which is not installed', {
      cause: error,
    });
  });
  const home = await mkdtemp(join(tmpdir(), 'starling-torn-'));
  const ledgers: Ledger[] = [];
  const violations = (): number => ledgers.reduce((sum, ledger) => sum + ledger.violations.length, 0);
  try {
    for (let lives = 0, done = 0; done < states; ) {
      const directory = join(home, `data-${lives}`);
      const random = seededRandom(seed + lives);
      const ledger = new Ledger();
      ledgers.push(ledger);
      let held: Held = { epoch: 0, records: [] };
      for (let i = 0; i < livesPerDirectory && done < states; i++, lives++) {
        const base = filesBelow(directory);
        const steps = await traceLife(home, directory, randomInt(random, 2 ** 31), ledger);
        for (let j = 0; j < statesPerLife && done < states; j++) {
          const disk = new TornDisk(base, random);
          const at = randomMoment(steps, random);
          disk.play(steps, at);
          const target = join(home, `state-${done}`);
          disk.writeTo(target, directory);
          const one = promises(held, steps, at);
          ledgers.push(one);
          // Unsynced data that is torn looks like damage, and is told as such: better than the other way round.
          await inspect(target, one, { mayBeDamaged: true });
          await rm(target, { recursive: true });
          done += 1;
          progress(done, violations());
        }
        held = await inspect(directory, ledger);
      }
      await rm(directory, { recursive: true });
    }
    return ledgers;
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

/** Runs a writer for a moment, killed at its end, and returns what it did to its directory. */
async function traceLife(home: string, directory: string, seed: number, ledger: Ledger): Promise<Traced[]> {
  const output = join(home, 'trace');
  const life = { directory, seed, clockOffsetMs: 0, end: { after: 'open', delayMs: workMs } as const };
  const start = { wrapper: straceArguments(output), cache: join(home, 'cache') };
  await live(life, start, ledger, async (child) => {
    // The writer, not strace, which would leave it running.
    const children = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'latin1');
    for (const id of children.trim().split(' ')) process.kill(Number(id), 'SIGKILL');
  });
  return readTrace(await readFile(output, 'latin1'), directory);
}

/** Just before or just after a step; every second time one that changes names or syncs, since those are few. */
function randomMoment(steps: readonly Traced[], random: Random): number {
  const rare = steps.filter(({ type }) => type !== 'said' && type !== 'append');
  const pool = random.next() < 0.5 ? rare : steps;
  return pool[randomInt(random, pool.length)]!.begunAt + randomInt(random, 2);
}

/** What had been promised when the power went: what the store held before, and all that was said until then. */
function promises(held: Held, steps: readonly Traced[], at: number): Ledger {
  const ledger = new Ledger();
  if (held.epoch > 0) ledger.noteEpoch(held.epoch);
  ledger.compare(held.records);
  for (const step of steps) if (step.type === 'said' && step.endedAt < at) ledger.note(readLine(step.text));
  return ledger;
}

function filesBelow(directory: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  if (!existsSync(directory)) return files;
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files.set(path, readFileSync(path));
  }
  return files;
}
