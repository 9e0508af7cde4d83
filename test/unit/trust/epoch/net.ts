/**
 * Hosts that agree on epochs under a virtual clock: a network that loses, repeats, reorders and splits, disks
 * that forget what was not synced, crashes at any moment between two effects. Every run is a function of its seed.
 */
import {
  type HostId,
  type Millis,
  type Random,
  type Signer,
  seededRandom,
  type Verify,
} from '../../../../src/core.ts';
import { freshAcceptor } from '../../../../src/trust/epoch/acceptor.ts';
import { EpochAgreement } from '../../../../src/trust/epoch/agreement.ts';
import { type EpochCrypto, genesisShare, type ShareName } from '../../../../src/trust/epoch/crypto-port.ts';
import { type EpochDescriptor, genesisEpoch } from '../../../../src/trust/epoch/descriptor.ts';
import { Holdings } from '../../../../src/trust/epoch/holdings.ts';
import { decodeMessage, type EpochMessage } from '../../../../src/trust/epoch/message.ts';
import type { ColdWish, TrusteePolicy } from '../../../../src/trust/epoch/policy.ts';
import { defaultTimings, type EpochEffect, type EpochInput } from '../../../../src/trust/epoch/port.ts';
import type { TrusteeView } from '../../../../src/trust/epoch/rules.ts';
import { StandInCrypto, secretOf, standInSigner, standInVerify } from './stand-in.ts';

/** One host's cryptography. Real ones are told what is shredded, and have deadlines of their own. */
export interface HostCrypto extends EpochCrypto {
  forget?(names: readonly ShareName[]): void;
  nextWake?(): Millis | null;
  wake?(): ReturnType<EpochCrypto['order']>;
}

/** What hosts sign with, and what their shares are made by. */
export interface Cryptography {
  readonly signer: (label: string) => Signer;
  readonly verify: Verify;
  /** What the founder holds: the genesis root, whole. */
  readonly genesisSecret: (genesis: EpochDescriptor, founder: HostId) => Uint8Array;
  /** For one life of one host; `disk` is as it was left by the one before. */
  readonly start: (index: number, disk: Disk, net: EpochNet) => HostCrypto;
}

/** Fast enough for thousands of runs. */
const standIns: Cryptography = {
  signer: standInSigner,
  verify: standInVerify,
  genesisSecret: secretOf,
  start: (index, disk, { hosts, random }) =>
    new StandInCrypto(hosts[index]!.id, random, (name) => disk.secrets.get(name), disk.sessions),
};

export interface NetOptions {
  readonly seed: number;
  readonly hosts: number;
  readonly policy: TrusteePolicy;
  /** Hosts whose disk forgets what they promised, voted and accepted whenever they crash: traitors, or a bad disk. */
  readonly forgetful?: (index: number) => boolean;
  /** Traitors that, when they lead, take no notice of what others have accepted. */
  readonly ignoresLocks?: (index: number) => boolean;
  /** Stand-ins where there is none. */
  readonly cryptography?: Cryptography;
}

export interface Disk {
  readonly store: Map<string, Uint8Array>;
  readonly secrets: Map<string, Uint8Array>;
  /** Not for the machine: sessions this host ever took part in. */
  readonly sessions: Set<string>;
}

export type Persist = Extract<EpochEffect, { type: 'persist' }>;

interface Host {
  readonly index: number;
  readonly id: HostId;
  readonly disk: Disk;
  machine: EpochAgreement | null;
  crypto: HostCrypto | null;
  /** Counts starts: what was under way in an earlier life is void. */
  life: number;
  readonly unsynced: Persist[];
  syncedAt: Millis;
  wakeAt: Millis;
  cryptoWakeAt: Millis | null;
  /** When this host last saw each other one come or go. */
  readonly seen: Map<HostId, { alive: boolean; since: Millis }>;
}

export const startedAt: Millis = 1_800_000_000_000;
export const mesh: string = 'ab'.repeat(32);

export class EpochNet {
  readonly random: Random;
  readonly hosts: Host[] = [];
  readonly options: NetOptions;
  readonly genesis: EpochDescriptor;
  private readonly cryptography: Cryptography;
  now: Millis = startedAt;
  loss = 0;
  duplication = 0;
  /** Which writes the disk refuses (it is full): nothing of them is there afterwards, and the next may succeed. */
  refusesWrite: (host: HostId, persist: Persist) => boolean = () => false;
  /** What a host does not say to another. */
  withholds: (from: HostId, to: HostId, message: EpochMessage) => boolean = () => false;
  /** Which side of a split each host is on. */
  sides: number[];
  cold: ColdWish | null = null;
  rotateGeneration: number | null = null;
  refreshEpoch: number | null = null;
  readonly gone = new Set<HostId>();
  /** Epochs that two different quorums, or two different hosts' entries, disagree on. */
  readonly forks: string[] = [];
  readonly alarms: string[] = [];
  /** When each epoch was first in force somewhere. */
  readonly enteredAt = new Map<number, Millis>();
  readonly steps: { count: number; messages: number } = { count: 0, messages: 0 };
  private readonly entered = new Map<number, string>();
  private readonly thresholds = new Map<number, number>();
  private readonly acceptances = new Map<string, Set<HostId>>();
  private readonly decided = new Map<number, string>();
  private readonly queue: { at: Millis; order: number; act: () => void }[] = [];
  private order = 0;

  constructor(options: NetOptions) {
    this.options = options;
    this.random = seededRandom(options.seed);
    this.cryptography = options.cryptography ?? standIns;
    const { signer: signerOf, genesisSecret } = this.cryptography;
    const signers = Array.from({ length: options.hosts }, (_, i) => signerOf(`host-${i}`));
    const founder = signers[0]!.publicKey;
    this.genesis = genesisEpoch(mesh, founder, signerOf('root').publicKey, startedAt);
    this.thresholds.set(0, 1);
    this.sides = signers.map(() => 0);
    for (const [index, signer] of signers.entries()) {
      const disk: Disk = { store: new Map(), secrets: new Map(), sessions: new Set() };
      if (index === 0) disk.secrets.set(genesisShare, genesisSecret(this.genesis, founder));
      const host: Host = {
        index,
        id: signer.publicKey,
        disk,
        machine: null,
        crypto: null,
        life: 0,
        unsynced: [],
        syncedAt: 0,
        wakeAt: 0,
        cryptoWakeAt: null,
        seen: new Map(),
      };
      this.hosts.push(host);
    }
    for (const host of this.hosts) this.start(host.index);
    this.look();
  }

  start(index: number): void {
    const host = this.hosts[index]!;
    if (host.machine !== null) return;
    host.life++;
    host.crypto = this.cryptography.start(index, host.disk, this);
    host.seen.clear();
    host.wakeAt = 0;
    host.cryptoWakeAt = null;
    host.machine = new EpochAgreement({
      signer: this.cryptography.signer(`host-${index}`),
      verify: this.cryptography.verify,
      random: this.random,
      genesis: this.genesis,
      policy: this.options.policy,
      timings: defaultTimings,
      saved: host.disk.store,
      secrets: host.disk.secrets.keys(),
    });
    this.feed(host, { type: 'wake' });
  }

  /** Some of what was being written has reached the disk, from the front; nothing that waited for it happened. */
  crash(index: number): void {
    const host = this.hosts[index]!;
    if (host.machine === null) return;
    host.machine = null;
    host.life++;
    const reached = Math.floor(this.random.next() * (host.unsynced.length + 1));
    for (const persist of host.unsynced.splice(0, reached)) this.write(host, persist);
    const torn = host.unsynced[0];
    if (torn !== undefined && this.random.next() < 0.5)
      for (const { name, bytes } of torn.secrets) host.disk.secrets.set(name, bytes);
    host.unsynced.length = 0;
    if (this.options.forgetful?.(index) === true) this.forget(host);
  }

  private forget(host: Host): void {
    const saved = host.disk.store.get('epoch/state');
    if (saved === undefined) return;
    const holdings = new Holdings();
    const { epoch } = holdings.decode(saved);
    host.disk.store.set('epoch/state', holdings.encode(freshAcceptor(epoch)));
  }

  private write(host: Host, persist: Persist): void {
    for (const { name, bytes } of persist.secrets) host.disk.secrets.set(name, bytes);
    for (const op of persist.ops)
      if (op.type === 'put') host.disk.store.set(op.key, op.value);
      else host.disk.store.delete(op.key);
  }

  private at(delayMs: Millis, act: () => void): void {
    const entry = { at: this.now + delayMs, order: this.order++, act };
    let low = 0;
    let high = this.queue.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.queue[middle]!;
      if (other.at > entry.at || (other.at === entry.at && other.order > entry.order)) low = middle + 1;
      else high = middle;
    }
    this.queue.splice(low, 0, entry);
  }

  /** Does `act` then, unless the host has crashed meanwhile. */
  private later(host: Host, delayMs: Millis, act: () => void): void {
    const { life } = host;
    this.at(delayMs, () => {
      if (host.life === life && host.machine !== null) act();
    });
  }

  run(durationMs: Millis, until: () => boolean = () => false): void {
    const end = this.now + durationMs;
    while (!until()) {
      const next = this.queue.at(-1);
      if (next === undefined || next.at > end) break;
      this.queue.pop();
      this.now = Math.max(this.now, next.at);
      next.act();
    }
    if (!until()) this.now = Math.max(this.now, end);
  }

  feed(host: Host, input: EpochInput): void {
    const { machine } = host;
    if (machine === null || this.isIgnored(host, input)) return;
    this.steps.count++;
    for (const effect of machine.step(input, this.now)) this.carryOut(host, effect);
    const wakeAt = machine.nextWake();
    if (wakeAt === null || wakeAt === host.wakeAt) return;
    host.wakeAt = wakeAt;
    this.later(host, Math.max(0, wakeAt - this.now), () => {
      if (host.wakeAt !== wakeAt) return;
      host.wakeAt = 0;
      this.feed(host, { type: 'wake' });
    });
  }

  private isIgnored(host: Host, input: EpochInput): boolean {
    if (input.type !== 'message' || this.options.ignoresLocks?.(host.index) !== true) return false;
    const message = decodeMessage(input.bytes);
    return message.type === 'promise' && message.lock !== null;
  }

  private carryOut(host: Host, effect: EpochEffect): void {
    switch (effect.type) {
      case 'send':
        this.transmit(host, effect.to, effect.bytes);
        return;
      case 'persist':
        this.persist(host, effect);
        return;
      case 'shred':
        for (const name of effect.names) host.disk.secrets.delete(name);
        host.crypto?.forget?.(effect.names);
        return;
      case 'crypto':
        this.hear(host, host.crypto!.order(effect.order));
        return;
      case 'publish':
        for (const other of this.hosts)
          if (other !== host && this.random.next() < 0.3)
            this.at(this.random.next() * 500, () =>
              this.feed(other, { type: 'record', bytes: effect.bytes }),
            );
        return;
      case 'entered':
        this.onEntered(effect.descriptor);
        return;
      case 'alarm':
        this.alarms.push(`${effect.code}: ${effect.detail}`);
        return;
    }
  }

  /** Takes reports in a little later, and sees to it that the cryptography is woken. */
  private hear(host: Host, reports: ReturnType<EpochCrypto['order']>): void {
    for (const report of reports)
      this.later(host, 1 + this.random.next() * 20, () => this.feed(host, { type: 'crypto', report }));
    const wakeAt = host.crypto?.nextWake?.() ?? null;
    if (wakeAt === host.cryptoWakeAt) return;
    host.cryptoWakeAt = wakeAt;
    if (wakeAt === null) return;
    this.later(host, Math.max(0, wakeAt - this.now), () => {
      if (host.cryptoWakeAt !== wakeAt) return;
      host.cryptoWakeAt = null;
      this.hear(host, host.crypto?.wake?.() ?? []);
    });
  }

  private persist(host: Host, effect: Persist): void {
    host.unsynced.push(effect);
    host.syncedAt = Math.max(host.syncedAt, this.now) + 1 + this.random.next() * 15;
    this.later(host, host.syncedAt - this.now, () => {
      host.unsynced.shift();
      if (this.refusesWrite(host.id, effect)) return;
      this.write(host, effect);
      for (const then of effect.then) this.carryOut(host, then);
    });
  }

  private transmit(host: Host, to: HostId, bytes: Uint8Array): void {
    this.steps.messages++;
    this.observe(bytes);
    const target = this.hosts.find((other) => other.id === to)!;
    if (target === host) {
      this.later(host, 0, () => this.feed(host, { type: 'message', from: host.id, bytes }));
      return;
    }
    if (this.withholds(host.id, to, decodeMessage(bytes))) return;
    if (this.random.next() < this.loss) return;
    const copies = this.random.next() < this.duplication ? 2 : 1;
    for (let i = 0; i < copies; i++)
      this.at(1 + this.random.next() * (this.loss > 0 ? 200 : 20), () => {
        if (this.sides[host.index] !== this.sides[target.index]) return;
        this.feed(target, { type: 'message', from: host.id, bytes });
      });
  }

  /** Notes every acceptance that leaves a host: a quorum of them is a decision, whoever learns of it. */
  private observe(bytes: Uint8Array): void {
    const message = decodeMessage(bytes);
    if (message.type !== 'accepted') return;
    const { voucher } = message;
    const key = `${voucher.epoch}/${voucher.ballot}/${voucher.value!.hash}`;
    const signers = this.acceptances.get(key) ?? new Set();
    this.acceptances.set(key, signers.add(voucher.by));
    const threshold = this.thresholds.get(voucher.epoch - 1);
    if (threshold === undefined || signers.size < threshold) return;
    this.agree(this.decided, voucher.epoch, voucher.value!.hash, 'decided');
  }

  private agree(facts: Map<number, string>, epoch: number, hash: string, what: string): void {
    const known = facts.get(epoch);
    if (known === undefined) facts.set(epoch, hash);
    else if (known !== hash)
      this.forks.push(`epoch ${epoch} was ${what} twice, by ${this.thresholds.get(epoch - 1)}`);
  }

  private onEntered({ plan, hash }: EpochDescriptor): void {
    this.agree(this.entered, plan.epoch, hash, 'entered');
    this.thresholds.set(plan.epoch, plan.threshold);
    if (!this.enteredAt.has(plan.epoch)) this.enteredAt.set(plan.epoch, this.now);
  }

  /** Once a second every host looks around: who is up on its side of a split, and since when. */
  private look(): void {
    for (const host of this.hosts) {
      if (host.machine === null) continue;
      this.later(host, this.random.next() * 900, () =>
        this.feed(host, { type: 'view', view: this.viewOf(host) }),
      );
    }
    this.at(1000, () => this.look());
  }

  viewOf(host: Host): TrusteeView {
    const candidates = this.hosts.map((other) => {
      const alive = other.machine !== null && this.sides[other.index] === this.sides[host.index];
      const seen = host.seen.get(other.id);
      if (seen?.alive !== alive) host.seen.set(other.id, { alive, since: this.now });
      const { since } = host.seen.get(other.id)!;
      return {
        host: other.id,
        admittedAt: startedAt + other.index,
        zone: `zone-${other.index % 3}`,
        eligible: true,
        aliveSince: alive ? since : null,
        absentSince: alive ? null : since,
        gone: this.gone.has(other.id),
      };
    });
    const renewals = { rotateGeneration: this.rotateGeneration, refreshEpoch: this.refreshEpoch };
    return { candidates, ...renewals, allowed: renewals, cold: this.cold };
  }

  get latest(): EpochDescriptor {
    return this.hosts
      .map((host) => host.machine?.current ?? this.genesis)
      .reduce((a, b) => (b.plan.epoch > a.plan.epoch ? b : a));
  }

  /** Whether every trustee of the latest epoch is up, knows of it, and has its share. */
  isSettled(): boolean {
    const { latest } = this;
    return latest.plan.trustees.every((id) => {
      const host = this.hosts.find((other) => other.id === id)!;
      return host.machine?.current.hash === latest.hash && host.machine.status().share !== null;
    });
  }

  /** No more faults. */
  heal(): void {
    this.loss = 0;
    this.duplication = 0;
    this.refusesWrite = () => false;
    this.sides = this.hosts.map(() => 0);
    for (const host of this.hosts) this.start(host.index);
  }

  /** One second of trouble. */
  trouble(): void {
    const { random } = this;
    const index = Math.floor(random.next() * this.hosts.length);
    const dice = random.next();
    if (dice < 0.12) this.crash(index);
    else if (dice < 0.4) this.start(index);
    else if (dice < 0.44) this.sides = this.hosts.map(() => (random.next() < 0.5 ? 0 : 1));
    else if (dice < 0.5) this.sides = this.hosts.map(() => 0);
    else if (dice < 0.53) this.refreshEpoch = this.latest.plan.epoch;
    else if (dice < 0.533) this.rotateGeneration = this.latest.plan.generation;
    this.run(1000 * random.next());
  }
}
