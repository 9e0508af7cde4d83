/**
 * The promises that every run is held to. Safety is looked at all along the way; agreement once the faults
 * are mended. Each broken promise is a `Violation` that says what, when and who.
 */
import { hash } from 'node:crypto';
import type { Verify } from '../../src/core.ts';
import { defaultGossipParameters } from '../../src/gossip/parameters.ts';
import { isAuthentic } from '../../src/gossip/replica/codec.ts';
import type { Record } from '../../src/gossip/replica/record.ts';
import { slotOf } from '../../src/gossip/replica/record.ts';
import type { ProxyConfig } from '../../src/proxy/config.ts';
import type { Flock } from '../flock.ts';
import type { Host } from '../host/host.ts';
import { networkLimits } from '../network/network.ts';
import type { Bounds } from '../plan.ts';
import { Growth } from './growth.ts';
import { Shares } from './shares.ts';
import { Violation } from './violation.ts';

/** How often the running checks look, virtual milliseconds. */
export const sweepMs = 500;
/** A burst that a thawed process finds, and what follows from each; far below what stops the real shell. */
const inboxMax = 60_000;
/** Pairs of observer and subject in one sweep: all up to 300 hosts; of more, each has its turn every few sweeps. */
const pairsMax = 90_000;

export class Checkers {
  private readonly flock: Flock;
  private readonly bounds: Bounds;
  private readonly verify: Verify;
  /** `observer subject` -> since when it is held down although healthy and reachable. */
  private readonly heldDownSince = new Map<number, number>();
  /** Whom an observer has found down or knows nothing of, and since when it holds them otherwise; null while it does not. */
  private readonly misled = new Map<number, number | null>();
  private readonly growth: Growth;
  private readonly shares: Shares;
  private readonly authentic = new WeakSet<Record>();
  private readonly digests = new WeakMap<ProxyConfig, string>();
  /** Number of the observer that disagreed last. */
  private lastWrong = 0;
  /** Whose turn it is in a mesh too large to look at as a whole. */
  private next = 0;
  /** Whose shares are looked at in the next sweep. */
  private nextShare = 0;

  constructor(flock: Flock, bounds: Bounds, verify: Verify) {
    this.flock = flock;
    this.bounds = bounds;
    this.verify = verify;
    this.growth = new Growth(flock.world);
    this.shares = new Shares(flock.world, (author) => flock.overfills(author));
  }

  /** Everything that must hold at any moment. */
  sweep(): void {
    const awake = this.flock.awake();
    const count = Math.min(awake.length, Math.ceil(pairsMax / this.flock.hosts.length));
    for (let turn = 0; turn < count; turn++) {
      const observer = awake[this.next++ % awake.length]!;
      this.membership(observer);
      this.boundedMemory(observer);
      if (!this.flock.isCompromised(observer)) this.growth.ownVersions(observer);
    }
    this.growth.sweep(awake, this.flock.hosts);
    // What is held does not shrink again: one in turn is enough, and where nobody writes so much the end is.
    if (this.flock.isOverfilled) this.boundedShare(awake[this.nextShare++ % awake.length]);
    this.delivery();
    this.boundedNetwork();
  }

  /** Everything that must hold once all agree. */
  final(): void {
    for (const host of this.flock.awake()) {
      this.boundedShare(host);
      this.durability(host);
      this.authenticity(host);
    }
  }

  /** What still differs between hosts, or between what they believe and what is; null when all agree. */
  disagreement(): string | null {
    const awake = this.flock.awake();
    const first = awake[0];
    if (first === undefined) return null;
    // Who was wrong a moment ago most likely still is: that spares a look at all the others.
    const lastWrong = this.flock.hosts[this.lastWrong]!;
    const inOrder = awake.includes(lastWrong) ? [lastWrong, ...awake] : awake;
    for (const host of inOrder) {
      const wrong = this.difference(first, host) ?? this.wrongMember(host) ?? this.wrongEndpoint(host);
      if (wrong === null) continue;
      this.lastWrong = host.number;
      return wrong;
    }
    return null;
  }

  private difference(first: Host, host: Host): string | null {
    const areSame = host.agent!.root() === first.agent!.root();
    // What an overfull author is refused depends on what came first: all else is the same everywhere.
    if (!areSame && !(this.flock.isOverfilled && this.shares.agree(host.agent!, first.agent!)))
      return `replicas of ${first.name} and ${host.name} differ`;
    if (this.endpointsDigest(host) === this.endpointsDigest(first)) return null;
    const where = firstDifference(endpointsOf(first), endpointsOf(host));
    return `endpoints of ${first.name} and ${host.name} differ: ${where}`;
  }

  /** Of all endpoints a host has compiled; taken once for each configuration. */
  private endpointsDigest({ config }: Host): string {
    if (config === null) return '';
    const known = this.digests.get(config);
    if (known !== undefined) return known;
    const digest = hash('md5', endpointsText(config));
    this.digests.set(config, digest);
    return digest;
  }

  /** The first member that `observer` sees otherwise than it is. */
  private wrongMember(observer: Host): string | null {
    for (const subject of this.flock.hosts) {
      if (subject.state === 'waiting' || subject.state === 'joining' || subject === observer) continue;
      const state = observer.agent!.member(subject.id)?.state ?? 'unknown';
      // Where a host was that has left is given up, so that who missed its short stay need not hear of it.
      const isForgotten = subject.state === 'left' && state === 'unknown';
      const isGone = state === 'down' || state === 'left' || isForgotten;
      const right = subject.isRunning ? state === 'alive' : isGone;
      if (!right) return `${observer.name} holds ${subject.name} ${state}, it is ${subject.state}`;
    }
    return null;
  }

  private violate(checker: string, detail: string): never {
    throw new Violation(checker, this.flock.world, detail);
  }

  /** No healthy, reachable member held down beyond the bound; every dead one known down within it. */
  private membership(observer: Host): void {
    const { world, networkChangedAt } = this.flock;
    for (const subject of this.flock.hosts) {
      if (subject === observer || subject.state === 'waiting' || subject.state === 'joining') continue;
      const state = observer.agent!.member(subject.id)?.state;
      const pair = observer.number * 65_536 + subject.number;
      if (state === undefined) {
        this.misled.set(pair, null);
        continue;
      }
      const since = Math.max(networkChangedAt, observer.since, subject.since);
      const isGone = state === 'down' || state === 'left';
      // Behind a partition there are many to be found down, one by one: no bound is promised there.
      if (subject.state === 'dead' && !isGone && !this.flock.isPartitioned) {
        if (world.now - Math.max(since, this.misledAt(pair)) > this.bounds.detectMs)
          this.violate(
            'detection',
            `${observer.name} holds ${subject.name} ${state}, dead for ${Math.round(world.now - subject.since)} ms`,
          );
      }
      if (subject.state === 'dead' && isGone) this.misled.set(pair, null);
      if (state !== 'down' || !this.isWell(subject, observer)) {
        this.heldDownSince.delete(pair);
        continue;
      }
      const downSince = Math.max(since, this.heldDownSince.get(pair) ?? world.now);
      if (!this.heldDownSince.has(pair)) {
        this.heldDownSince.set(pair, world.now);
        if (world.now - since > this.bounds.falseDownMs) this.flock.ledger.falseDowns++;
      }
      if (world.now - downSince > this.bounds.falseDownMs)
        this.violate(
          'false-down',
          `${observer.name} holds ${subject.name} down for ${Math.round(world.now - downSince)} ms though it is well`,
        );
    }
  }

  /**
   * When the observer took for alive whom it had not known, or had found down: one who had not heard a last word of the
   * dead's believes it when it is replayed, for it is signed, and finds it down a second time. Never is `-Infinity`.
   */
  private misledAt(pair: number): number {
    const held = this.misled.get(pair);
    if (held === undefined) return Number.NEGATIVE_INFINITY;
    const at = held ?? this.flock.world.now;
    this.misled.set(pair, at);
    return at;
  }

  /**
   * Healthy, and not out of reach. Who was let in and then cut off from its sponsor knows nobody, and talks to none; nor
   * does who was let in while it was away, and the sponsor went before it was back.
   */
  private isWell(subject: Host, observer: Host): boolean {
    const isOpen = this.flock.network.links.isOpen(observer.number, subject.number);
    return isOpen && subject.isReady && !subject.frozen && subject.agent!.isAdmitted(observer.id);
  }

  /** What is held of one author stays within its quota; but for a host that is not its agent's alone. */
  private boundedShare(host: Host | undefined): void {
    if (host !== undefined && !this.flock.isCompromised(host)) this.shares.check(host.name, host.agent!);
  }

  /** What was acknowledged is told everybody in time. */
  private delivery(): void {
    const { deliverMs } = this.flock;
    if (deliverMs === null) return;
    for (const { topic, startedAt, remaining } of this.flock.ledger.undelivered()) {
      if (this.flock.world.now - startedAt <= deliverMs) continue;
      for (const number of remaining) {
        const host = this.flock.hosts[number]!;
        if (!this.flock.isCompromised(host))
          this.violate('delivery', `${host.name} lacks what was written of ${topic} ${deliverMs} ms ago`);
      }
    }
  }

  /** What peers can make an agent hold stays within its limits. */
  private boundedMemory(host: Host): void {
    const { parked, syncSessions } = host.agent!.stats();
    const { maxParked, sync } = defaultGossipParameters;
    const held = [
      { what: 'parked records', count: parked, most: maxParked },
      // Beside those that it answers, an agent opens one of its own.
      { what: 'sessions', count: syncSessions, most: sync.maxAnswered + 1 },
      { what: 'waiting inputs', count: host.longestInbox, most: inboxMax },
    ];
    for (const { what, count, most } of held)
      if (count > most)
        this.violate('bounded-queues', `${host.name} holds ${count} ${what}, at most ${most}`);
  }

  private boundedNetwork(): void {
    const { queuedBytesMax, overflows } = this.flock.network.counters;
    if (overflows > 0 || queuedBytesMax > networkLimits.queueBytesMax / 2)
      this.violate(
        'bounded-queues',
        `${queuedBytesMax} bytes waited for one peer, ${overflows} frames dropped`,
      );
  }

  /**
   * Every acknowledged write is held by every host, or a later one in its slot; but for those that lie on the
   * disk of a host which died with them.
   */
  private durability(host: Host): void {
    for (const { slot, version, hlc, host: writer, uncertain } of this.flock.ledger.allAcknowledged()) {
      if (uncertain && !this.flock.hosts[writer]!.isRunning) continue;
      const record = host.agent!.record(slot);
      const kept = slot.startsWith('host/') ? (record?.version ?? 0) >= version : (record?.hlc ?? 0) >= hlc;
      if (!kept)
        this.violate(
          'durability',
          `${host.name} holds ${record === undefined ? 'nothing' : `version ${record.version}`} in ${slot}, host-${writer} had acknowledged ${version}`,
        );
    }
  }

  /** Every record anybody holds is signed by its author, and none is what an attacker made up. */
  private authenticity(host: Host): void {
    for (const record of host.agent!.records()) {
      if (this.authentic.has(record)) continue;
      if (this.flock.forgeries.has(record))
        this.violate('authenticity', `${host.name} holds a forged record in ${slotOf(record)}`);
      if (!isAuthentic(record, this.verify))
        this.violate('authenticity', `${host.name} holds ${slotOf(record)} with a wrong signature`);
      this.authentic.add(record);
    }
  }

  /** The first service that `observer` balances otherwise than it really runs. */
  private wrongEndpoint(observer: Host): string | null {
    const balanced = new Map(
      observer.config?.clusters.map(({ service, endpoints }) => [
        service,
        new Set(endpoints.map(({ id }) => id)),
      ]),
    );
    for (const subject of this.flock.hosts)
      for (const [service, state] of this.flock.ledger.servicesOf(subject.number)) {
        if (state === 'unknown') continue;
        const answers = subject.isRunning && !subject.silentApplications.has(service);
        const found = balanced.get(service)?.has(subject.id) ?? false;
        if (found !== (state === 'present' && answers))
          return `${observer.name} ${found ? 'balances' : 'does not balance'} ${service} to ${subject.name}, which is ${subject.state}, ${state}${answers ? '' : ', not answering'}`;
      }
    return null;
  }
}

/** All compiled endpoints as one text, to be compared. */
function endpointsOf({ config }: Host): string {
  return config === null ? '' : endpointsText(config);
}

function endpointsText({ clusters }: ProxyConfig): string {
  return JSON.stringify(
    clusters.map(({ service, endpoints, outOfRotation }) => [service, endpoints, outOfRotation]),
  );
}

/** Both texts around the first place where they part. */
function firstDifference(a: string, b: string): string {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  const around = (text: string): string => text.slice(Math.max(0, at - 120), at + 60);
  return `"${around(a)}" and "${around(b)}"`;
}
