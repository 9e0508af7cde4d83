/** One life of a writer process, from its start to its violent end, and the look into the store after it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { makeDataDirectory } from '../../src/agent/io/data-directory.ts';
import { ed25519Verify, Fault, type Random, randomInt } from '../../src/core.ts';
import { Store } from '../../src/gossip/io/store.ts';
import { isAuthentic } from '../../src/gossip/replica/codec.ts';
import type { Record } from '../../src/gossip/replica/record.ts';
import { readStored } from '../../src/gossip/replica/stored.ts';
import type { Ledger } from './ledger.ts';
import { readLine } from './lines.ts';

/** When a life ends: so long after the process was started, or after it said that it is open. */
export interface End {
  readonly after: 'spawn' | 'open';
  readonly delayMs: number;
}

export interface Life {
  readonly directory: string;
  readonly seed: number;
  readonly clockOffsetMs: number;
  readonly end: End;
  /**
   * Whether promises made after the strike was begun count. Not where it shuts a file system down: a sync that
   * is under way then has been seen to report success for what did not reach the disk, probably because jbd2
   * takes a transaction that was aborted for one that is complete; a machine without power reports nothing.
   */
  readonly lastWordsCount?: boolean;
}

/** A start takes about this long: ends counted from it fall into every part of it. */
const startMs = 350;
const longestWorkMs = 150;
/** Within what other hosts accept, so that a clock set back by its double does not stop an agent. */
const largestClockOffsetMs = 20_000;
/** A writer that says nothing for so long hangs, which no crash excuses. */
const silenceMs = 30_000;

/** One end in five falls into the start, the rest into the work. */
export function randomLife(directory: string, random: Random): Life {
  const end: End =
    random.next() < 0.2
      ? { after: 'spawn', delayMs: random.next() * startMs }
      : { after: 'open', delayMs: random.next() * longestWorkMs };
  return {
    directory,
    seed: randomInt(random, 2 ** 31),
    clockOffsetMs: randomInt(random, 2 * largestClockOffsetMs + 1) - largestClockOffsetMs,
    end,
  };
}

/** How a writer is started; `wrapper` is a program and its arguments that run it. */
export interface Start {
  readonly wrapper?: readonly string[];
  /** Where Node keeps compiled code, so that hundreds of starts are quick. */
  readonly cache: string;
}

export function startWriter(life: Life, { wrapper = [], cache }: Start): ChildProcess {
  const script = join(import.meta.dirname, 'writer.ts');
  const command = [
    ...wrapper,
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    script,
    life.directory,
    String(life.seed),
    String(life.clockOffsetMs),
  ];
  return spawn(command[0]!, command.slice(1), {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NODE_COMPILE_CACHE: cache },
  });
}

/**
 * Lets a writer live until its end has come, noting all that it says; `strike` then ends it, and it must be
 * dead soon after. Faults that it tells of once struck are none.
 */
export async function live(
  life: Life,
  start: Start,
  ledger: Ledger,
  strike: (child: ChildProcess) => Promise<void>,
): Promise<void> {
  const child = startWriter(life, start);
  const closed = once(child, 'close');
  let struck = false;
  const hit = async (): Promise<void> => {
    struck = true;
    await strike(child);
  };
  let strikes: Promise<void> = Promise.resolve();
  const strikeLater = (): void => {
    strikes = setTimeout(life.end.delayMs).then(hit);
  };
  const watchdog = setTimeout(silenceMs, undefined, { ref: false }).then(() => child.kill('SIGKILL'));
  void watchdog;
  if (life.end.after === 'spawn') strikeLater();
  const lines = createInterface({ input: child.stdout! });
  lines.on('line', (text) => {
    const line = readLine(text);
    if (line.type === 'fault' && struck) return;
    const promises = line.type === 'acknowledged' || line.type === 'published';
    if (!(promises && struck && life.lastWordsCount === false)) ledger.note(line);
    if (line.type === 'open' && life.end.after === 'open') strikeLater();
  });
  await closed;
  await strikes;
  if (!struck) ledger.violate('a writer ended before it was struck');
}

/** What a store held when it was looked into. */
export interface Held {
  readonly epoch: number;
  readonly records: readonly Record[];
}

/** Opens the store as the next start would and compares what it holds with what was promised. */
export async function inspect(
  directory: string,
  ledger: Ledger,
  options: { readonly mayBeDamaged?: boolean } = {},
): Promise<Held> {
  const records: Record[] = [];
  try {
    await makeDataDirectory(directory);
    const store = await Store.open(directory, {
      damaged: (detail) => {
        if (options.mayBeDamaged) ledger.totals.damageTold += 1;
        else ledger.violate(`damage was reported: ${detail}`);
      },
    });
    for await (const { key, value } of store.load('')) {
      const stored = readStored(key, value);
      if (stored?.type !== 'record') continue;
      if (isAuthentic(stored.record, ed25519Verify)) records.push(stored.record);
      else ledger.violate(`${key} is held with a wrong signature`);
    }
    ledger.noteEpoch(store.epoch);
    ledger.compare(records);
    await store.close();
    return { epoch: store.epoch, records };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    ledger.violate(`the store did not open: ${error.code}: ${error.message}`);
    return { epoch: 0, records };
  }
}
