/**
 * What the outside world was told and when: every write that was acknowledged, and how long each took to be
 * seen everywhere. The checkers hold the agents to it.
 */
import type { Topic } from '../../src/agent/catalog/catalog.ts';
import type { Hlc } from '../../src/gossip/replica/record.ts';
import type { Host } from '../host/host.ts';
import type { SimulatedAgent } from '../host/simulated-agent.ts';
import { Samples } from '../report/statistics.ts';
import type { World } from '../world.ts';

/** `unknown`: asked for, and the process died before it answered. Either outcome is right then. */
export type Registered = 'present' | 'absent' | 'unknown';

/** An acknowledged record: its slot must hold this one or a later one for ever. */
export interface Acknowledged {
  readonly host: number;
  readonly slot: string;
  readonly version: number;
  readonly hlc: Hlc;
  readonly at: number;
  /** Its writer was cut off or died before others can be expected to have it: it may be on that disk alone. */
  uncertain: boolean;
}

/** A write that its writer outlived by so long, unpartitioned, is everywhere. */
const spreadMs = 10_000;

/** What not all have heard of. */
export interface Undelivered {
  readonly startedAt: number;
  readonly topic: Topic;
  /** Who has not. */
  readonly remaining: ReadonlySet<number>;
}

interface Watch extends Undelivered {
  readonly seen: (agent: SimulatedAgent) => boolean;
  readonly remaining: Set<number>;
  readonly samples: Samples;
  /** Also takes one sample for each host, beside the one for the last. */
  readonly each: Samples | null;
}

/** Watches under way; what is not seen by then tells nothing new. */
const watchesMax = 2_000;

export class Ledger {
  /** From the acknowledgement of a write until the last host has it; undisturbed ones only. */
  readonly convergence = new Samples();
  /** The same for each host apart. */
  readonly delivery = new Samples();
  /** From a death until one live host holds it down, for each. */
  readonly detection = new Samples();
  /** From a death until no live host balances to it any more. */
  readonly ejection = new Samples();
  /** How often a healthy, reachable host was held down, however briefly. */
  falseDowns = 0;
  /** Off while the mesh forms: what a host that is not ready yet takes is another question. */
  measuring = false;
  private readonly world: World;
  private readonly services = new Map<number, Map<string, Registered>>();
  private readonly acknowledged = new Map<string, Acknowledged>();
  private watches: Watch[] = [];
  private ejections: { startedAt: number; id: string; remaining: Set<number> }[] = [];

  constructor(world: World) {
    this.world = world;
  }

  setService(host: number, service: string, state: Registered): void {
    const known = this.services.get(host) ?? new Map<string, Registered>();
    this.services.set(host, known.set(service, state));
  }

  servicesOf(host: number): ReadonlyMap<string, Registered> {
    return this.services.get(host) ?? new Map();
  }

  /** Remembers what a host's own replica held when it acknowledged. */
  acknowledge(host: Host, slot: string, partitioned: boolean): void {
    const record = host.agent?.record(slot);
    if (record === undefined) return;
    const { version, hlc } = record;
    this.acknowledged.set(`${host.number} ${slot}`, {
      host: host.number,
      slot,
      version,
      hlc,
      at: this.world.now,
      uncertain: partitioned,
    });
  }

  allAcknowledged(): Iterable<Acknowledged> {
    return this.acknowledged.values();
  }

  /** Measures from now until each of `hosts` has seen it; it can change with `topic` only. */
  watchWrite(topic: Topic, hosts: readonly Host[], seen: (agent: SimulatedAgent) => boolean): void {
    this.watch(topic, hosts, seen, this.convergence, this.delivery);
  }

  /** Measures how long each of `hosts` takes to hold `dead` down, and to take it out of its balancers. */
  watchDeath(dead: Host, hosts: readonly Host[]): void {
    const down = (agent: SimulatedAgent): boolean => {
      const state = agent.member(dead.id)?.state;
      return state === 'down' || state === 'left';
    };
    this.watch(`node:${dead.name}`, hosts, down, new Samples(), this.detection);
    const balancing = hosts.filter((host) => balancesTo(host, dead.id));
    if (balancing.length > 0 && this.ejections.length < watchesMax)
      this.ejections.push({
        startedAt: this.world.now,
        id: dead.id,
        remaining: new Set(balancing.map(({ number }) => number)),
      });
  }

  /** Writes, and deaths, that some host has not seen yet. */
  undelivered(): Iterable<Undelivered> {
    return this.watches;
  }

  /** A fault of the network or of a process: what is under way measures the fault from here on. */
  disturb(): void {
    for (const write of this.acknowledged.values())
      if (this.world.now - write.at < spreadMs) write.uncertain = true;
    this.watches = [];
    this.ejections = [];
  }

  /** A host that is gone is waited for no longer. */
  gone(host: Host): void {
    for (const write of this.acknowledged.values())
      if (write.host === host.number && this.world.now - write.at < spreadMs) write.uncertain = true;
    for (const watch of this.watches) watch.remaining.delete(host.number);
    for (const ejection of this.ejections) ejection.remaining.delete(host.number);
  }

  changed(host: Host, topics: ReadonlySet<Topic>): void {
    const { agent } = host;
    if (this.watches.length === 0 || agent === null) return;
    let finished = false;
    for (const watch of this.watches) {
      if (!topics.has(watch.topic) || !watch.remaining.has(host.number) || !watch.seen(agent)) continue;
      watch.remaining.delete(host.number);
      watch.each?.add(this.world.now - watch.startedAt);
      if (watch.remaining.size > 0) continue;
      watch.samples.add(this.world.now - watch.startedAt);
      finished = true;
    }
    if (finished) this.watches = this.watches.filter(({ remaining }) => remaining.size > 0);
  }

  configured(host: Host): void {
    if (this.ejections.length === 0) return;
    for (const ejection of this.ejections) {
      if (!ejection.remaining.has(host.number) || balancesTo(host, ejection.id)) continue;
      ejection.remaining.delete(host.number);
      if (ejection.remaining.size === 0) this.ejection.add(this.world.now - ejection.startedAt);
    }
    this.ejections = this.ejections.filter(({ remaining }) => remaining.size > 0);
  }

  private watch(
    topic: Topic,
    hosts: readonly Host[],
    seen: Watch['seen'],
    samples: Samples,
    each: Samples | null,
  ): void {
    const remaining = hosts.filter(({ agent }) => agent !== null && !seen(agent));
    if (!this.measuring || remaining.length === 0 || this.watches.length >= watchesMax) return;
    this.watches.push({
      startedAt: this.world.now,
      topic,
      seen,
      remaining: new Set(remaining.map(({ number }) => number)),
      samples,
      each,
    });
  }
}

function balancesTo(host: Host, id: string): boolean {
  return host.config?.clusters.some(({ endpoints }) => endpoints.some((one) => one.id === id)) ?? false;
}
