/**
 * The process in which the real gossipsub is put to a trial: that comes as JSON on standard input, how it spread
 * leaves as JSON on standard output. Its clock, timers and dice are those of the simulated world.
 */
import { readFileSync } from 'node:fs';
import { World } from '../../world.ts';
import type { Trial } from '../trial.ts';
import { VirtualTime } from './virtual-time.ts';

const trial = JSON.parse(readFileSync(0, 'utf8')) as Trial;
const world = new World(trial.seed);
const time = new VirtualTime(world);
time.install(world.random('process'));
// gossipsub reads the clock while it loads.
const { play } = await import('./play.ts');
process.stdout.write(JSON.stringify(await play(trial, world, time)));
