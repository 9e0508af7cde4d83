/** Plays trials with the real gossipsub, in a process of its own: time and chance are the whole process's. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Spread } from '../tally.ts';
import type { Trial } from '../trial.ts';

/** Ten times what 100 deltas among 1,000 hosts make. */
const outputBytesMax = 32 * 1024 * 1024;
/** Twenty times what they take. */
const playMaxMs = 15 * 60_000;

/** Takes some 30 s of CPU for 1,000 hosts. A run that breaks off throws. */
export function playGossipsub(trial: Trial): Spread {
  const output = execFileSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'main.ts')],
    {
      input: JSON.stringify(trial),
      encoding: 'utf8',
      maxBuffer: outputBytesMax,
      timeout: playMaxMs,
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  return JSON.parse(output) as Spread;
}
