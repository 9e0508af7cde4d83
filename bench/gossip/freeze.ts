/**
 * Are healthy agents accused by sick ones? A quarter of all processes is stopped again and again and runs only
 * for moments in between, long enough to act on timeouts that have long passed: the experiment of the Lifeguard
 * paper (Dadgar, Phillips, Currey: "Lifeguard: Local Health Awareness for More Accurate Failure Detection").
 */
import type { Cluster } from './cluster.ts';

/** 8 of 30. */
const frozenShare = 8 / 30;
const stopMs = 8000;
const runMs = 64;
const lengthMs = 120_000;
const backWithinMs = 180_000;

export interface Freeze {
  readonly frozen: number;
  /** Healthy members that at least one agent declared down. */
  readonly healthyDown: number;
  /** How often an agent did so, and of these how often a healthy one. */
  readonly falseDowns: number;
  readonly falseDownsOfHealthy: number;
  /** How often an agent held a healthy member suspect. */
  readonly falseSuspicions: number;
  /** From the end until everybody saw everybody again. */
  readonly backMs: number;
}

export async function measureFreeze(cluster: Cluster): Promise<Freeze> {
  const count = Math.max(1, Math.round(cluster.size * frozenShare));
  const frozen = new Set(cluster.hosts.slice(1, 1 + count));
  const downs: { observer: number; about: number }[] = [];
  let falseSuspicions = 0;
  const stopListening = cluster.sightings.listen(({ observer, fact }) => {
    if (fact.type === 'change' || frozen.has(fact.about)) return;
    if (fact.type === 'down') downs.push({ observer, about: fact.about });
    if (fact.type === 'suspect') falseSuspicions++;
  });
  const signal = (name: NodeJS.Signals): void => {
    for (const host of frozen) cluster.program(host).child.kill(name);
  };
  const untilMs = performance.now() + lengthMs;
  while (performance.now() < untilMs) {
    signal('SIGSTOP');
    await cluster.pause(stopMs);
    signal('SIGCONT');
    await cluster.pause(runMs);
  }
  const backMs = await cluster.converged(performance.now(), backWithinMs);
  stopListening();
  return {
    frozen: frozen.size,
    healthyDown: new Set(downs.map(({ about }) => about)).size,
    falseDowns: downs.length,
    falseDownsOfHealthy: downs.filter(({ observer }) => !frozen.has(observer)).length,
    falseSuspicions,
    backMs,
  };
}
