/** Every scenario by name. */
import { byCodeUnit } from '../../src/core.ts';
import type { Scenario } from '../plan.ts';
import { blackout } from './blackout.ts';
import { calm } from './calm.ts';
import { churn } from './churn.ts';
import { hardJoins } from './hard-joins.ts';
import { joinStorm } from './join-storm.ts';
import { large } from './large.ts';
import { lossy } from './lossy.ts';
import { partition } from './partition.ts';
import { recovery } from './recovery.ts';
import { siege } from './siege.ts';
import { surrounded } from './surrounded.ts';
import { swarm } from './swarm.ts';
import { traitors } from './traitors.ts';
import { trust, trustTraitor } from './trust.ts';

export const scenarios: ReadonlyMap<string, Scenario> = new Map(
  [
    blackout,
    calm,
    churn,
    hardJoins,
    joinStorm,
    large,
    lossy,
    partition,
    recovery,
    siege,
    surrounded,
    swarm,
    traitors,
    trust,
    trustTraitor,
  ]
    .sort((a, b) => byCodeUnit(a.name, b.name))
    .map((scenario) => [scenario.name, scenario]),
);
