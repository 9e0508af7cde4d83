/** What can be studied, by the names that the command line knows. */
import type { Study } from '../report/study.ts';
import { calibration } from './calibration.ts';
import { census } from './census.ts';
import { gossipsub } from './gossipsub.ts';
import { growth } from './growth.ts';
import { lifeguard } from './lifeguard.ts';

export const studies: ReadonlyMap<string, Study> = new Map([
  ['calibration', calibration],
  ['lifeguard', lifeguard],
  ['growth', growth],
  ['census', census],
  ['gossipsub', gossipsub],
]);
