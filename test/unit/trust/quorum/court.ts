/**
 * Trustees of one key, each with its own engine, log and disk, and a host that asks them, all on one virtual
 * clock. A test can spoil what any of them says, kill one at any moment, and look at its disk.
 */
import assert from 'node:assert/strict';
import { ed25519Verify, type HostId, type Millis, type Signer } from '../../../../src/core.ts';
import { genesisShare, type ShareName } from '../../../../src/trust/epoch/crypto-port.ts';
import {
  describeEpoch,
  type EpochDescriptor,
  genesisEpoch,
  noHash,
} from '../../../../src/trust/epoch/descriptor.ts';
import { LeafRules } from '../../../../src/trust/issuance/leaf-rules.ts';
import { IssuanceLog } from '../../../../src/trust/log/issuance-log.ts';
import { ThresholdEngine } from '../../../../src/trust/quorum/engine.ts';
import type { EngineReport } from '../../../../src/trust/quorum/engine-port.ts';
import { encodeOutcome } from '../../../../src/trust/quorum/epoch-group.ts';
import { encodeSecret } from '../../../../src/trust/quorum/held-shares.ts';
import { LeafJudge } from '../../../../src/trust/quorum/leaf.ts';
import {
  decodeQuorumMessage,
  encodeQuorumMessage,
  type QuorumMessage,
} from '../../../../src/trust/quorum/message.ts';
import { leafTag, type PurposeJudge, Purposes } from '../../../../src/trust/quorum/purpose.ts';
import {
  QuorumRequester,
  type RequesterEffect,
  type RequesterInput,
} from '../../../../src/trust/quorum/requester.ts';
import { defaultEngineTimings } from '../../../../src/trust/quorum/run.ts';
import { QuorumTrustee, type TrusteeEffect } from '../../../../src/trust/quorum/trustee.ts';
import {
  encodeRootCertificates,
  encodeRootTurn,
  rootKey,
  turnKey,
  turnStatement,
} from '../../../../src/trust/root-record.ts';
import type { TrustState } from '../../../../src/trust/state.ts';
import { trustRootKind } from '../../../../src/trust/statement.ts';
import { assembleCertificate, buildRootTbs, pemOf } from '../../../../src/trust/x509/x509.ts';
import { dealtKeys, entropyOf, range, signWith } from '../frost/parties.ts';
import {
  foundedState,
  founder,
  genesis,
  hour,
  rootSigner,
  seedOf,
  signerOf,
  startedAt,
  statement,
  trustDomain,
} from '../mesh.ts';

export const timings = { answerWithinMs: 1000, requestWithinMs: 9000 };

/** What a message becomes on its way; an empty list drops it. */
export type Tamper = (message: QuorumMessage, from: HostId, to: HostId) => readonly QuorumMessage[];

interface Bench {
  readonly signer: Signer;
  readonly share: ShareName;
  readonly secret: Uint8Array;
  readonly disk: Map<string, Uint8Array>;
  boot: string;
  engine: ThresholdEngine;
  trustee: QuorumTrustee;
  log: IssuanceLog;
  isUp: boolean;
  /** Orders that reached the engine. */
  readonly orders: string[];
}

/** A mesh whose root is of generation 1, shared; the founder's of generation 0 is still believed. */
export function sharedState(threshold: number, count: number): TrustState {
  const { group, shares } = dealtKeys(threshold, range(1, count));
  const quorum = [...shares.values()].slice(0, threshold);
  const state = foundedState();
  state.bundle.learn(
    new Map([
      [0, rootSigner.publicKey],
      [1, group.publicKey],
    ]),
  );
  const [g0, g1] = [state.bundle.nameOf(0)!, state.bundle.nameOf(1)!];
  const lifetime = { notBefore: startedAt, notAfter: startedAt + 1000 * hour };
  const own = buildRootTbs({ issuer: g1, subject: g1, ...lifetime });
  const cross = buildRootTbs({ issuer: g0, subject: g1, ...lifetime });
  const turn = { generation: 1, turn: 'active' as const, at: startedAt, by: 1 };
  const signature = signWith(group, quorum, turnStatement(genesis.hash, turn));
  const records: [string, Uint8Array][] = [
    [
      rootKey(1),
      encodeRootCertificates({
        generation: 1,
        certPem: pemOf(assembleCertificate(own, signWith(group, quorum, own))),
        crossPem: pemOf(assembleCertificate(cross, rootSigner.sign(cross))),
      }),
    ],
    [turnKey(1, 'active'), encodeRootTurn({ ...turn, signature: Buffer.from(signature).toString('hex') })],
  ];
  for (const [key, value] of records)
    state.apply(statement({ scope: 'policy', kind: trustRootKind, key, author: founder.publicKey, value }));
  assert.equal(state.bundle.active().generation, 1);
  return state;
}

/** Where a trustee's process ends: before its next write, or after it and before what the write releases. */
export type Crash = 'before-write' | 'after-write';

export class Court {
  readonly epoch: EpochDescriptor;
  readonly requester: QuorumRequester;
  readonly self: Signer;
  readonly outcomes: RequesterEffect[] = [];
  readonly said: { readonly from: HostId; readonly to: HostId; readonly message: QuorumMessage }[] = [];
  readonly trustees = new Map<HostId, Bench>();
  readonly crashes = new Map<HostId, Crash>();
  now: Millis = startedAt + 60_000;
  heard = 99;
  tamper: Tamper = (message) => [message];
  private readonly generation: number;
  private readonly stateOf: (host: HostId) => TrustState;
  private readonly more: ReadonlyMap<number, PurposeJudge>;
  private readonly queue: { readonly from: HostId; readonly to: HostId; readonly bytes: Uint8Array }[] = [];
  private drawn = 0;
  private boots = 0;

  constructor(
    threshold: number,
    count: number,
    stateOf: (host: HostId) => TrustState,
    self: Signer = founder,
    more: ReadonlyMap<number, PurposeJudge> = new Map(),
  ) {
    this.self = self;
    this.stateOf = stateOf;
    this.more = more;
    this.requester = new QuorumRequester({ timings, firstId: 41 });
    if (threshold === 1) {
      this.generation = 0;
      this.epoch = genesisEpoch(genesis.hash, founder.publicKey, rootSigner.publicKey, startedAt);
      this.seat(founder, genesisShare, seedOf('root'));
      return;
    }
    this.generation = 1;
    const keys = dealtKeys(threshold, range(1, count));
    const signers = range(1, count).map((seat) => signerOf(`trustee ${seat}`));
    const hosts = signers.map((signer) => signer.publicKey);
    const plan = {
      mesh: genesis.hash,
      epoch: 1,
      previous: noHash,
      generation: 1,
      kind: 'generate' as const,
      threshold,
      trustees: hosts,
      dealers: hosts,
      ballot: 1,
      proposedAt: startedAt,
      cold: null,
      coldDealt: 0,
      formers: [],
      weakest: threshold,
    };
    this.epoch = describeEpoch(plan, keys.group.publicKey, encodeOutcome(keys.group, new Map()));
    for (const [i, signer] of signers.entries())
      this.seat(signer, this.epoch.session, encodeSecret(keys.group, keys.shares.get(i + 1)!));
  }

  get hosts(): HostId[] {
    return [...this.epoch.plan.trustees];
  }

  private seat(signer: Signer, share: ShareName, secret: Uint8Array): void {
    const disk = new Map<string, Uint8Array>();
    const bench = { signer, share, secret, disk, orders: [], isUp: true };
    this.trustees.set(signer.publicKey, { ...bench, ...this.boot(signer, share, secret, disk) });
  }

  private boot(signer: Signer, share: ShareName, secret: Uint8Array, disk: Map<string, Uint8Array>) {
    const host = signer.publicKey;
    const boot = Buffer.from(entropyOf(`boot ${++this.boots}`, 16)).toString('hex');
    const engine = new ThresholdEngine({
      signer,
      verify: ed25519Verify,
      entropy: (bytes) => entropyOf(`${boot} ${++this.drawn}`, bytes),
      trustDomain,
      bootId: boot,
      timings: defaultEngineTimings,
    });
    engine.step({ type: 'hold', name: share, secret }, this.now);
    const saved = [...disk].sort(([a], [b]) => (a < b ? -1 : 1));
    const log = new IssuanceLog(saved);
    const state = this.stateOf(host);
    const rules = new LeafRules(
      {
        admissionOf: (id) => state.admissionOf(id),
        mayServe: (id, service) => state.mayServe(id, service),
        usesOf: (grantId) => state.usesOf(grantId),
        isDenied: (id) => state.isDenied(id),
      },
      saved,
    );
    const judges = new Map([[leafTag, new LeafJudge(rules, state.bundle)], ...this.more]);
    const trustee = new QuorumTrustee({
      purposes: new Purposes(judges),
      log,
      context: { heardTrustees: () => this.heard },
    });
    const { epoch, threshold } = this.epoch.plan;
    const office = { epoch, shareName: share, generation: this.generation, threshold };
    trustee.step({ type: 'offices', offices: [office] }, this.now);
    return { boot, engine, trustee, log };
  }

  /** The process ends: what was in memory and on the wire is gone. */
  kill(host: HostId): void {
    this.trustees.get(host)!.isUp = false;
  }

  restart(host: HostId): void {
    const bench = this.trustees.get(host)!;
    Object.assign(bench, this.boot(bench.signer, bench.share, bench.secret, bench.disk), { isUp: true });
  }

  /** A second process with the same key and share beside the first, from a copy of its disk. */
  clone(host: HostId): Bench {
    const bench = this.trustees.get(host)!;
    const disk = new Map(bench.disk);
    const { signer, share, secret } = bench;
    return { ...bench, disk, orders: [], ...this.boot(signer, share, secret, disk) };
  }

  sign(requestId: string, purpose: Uint8Array, message: Uint8Array, order: readonly HostId[] = this.hosts) {
    this.feed({ type: 'sign', task: { requestId, epoch: this.epoch, purpose, message, order } });
  }

  feed(input: RequesterInput): void {
    for (const effect of this.requester.step(input, this.now))
      if (effect.type === 'send') this.post(this.self.publicKey, effect.to, effect.bytes);
      else this.outcomes.push(effect);
  }

  post(from: HostId, to: HostId, bytes: Uint8Array): void {
    this.queue.push({ from, to, bytes });
  }

  /** Hands over everything that was said, and what is said to that. */
  deliver(): this {
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      const { from, to } = next;
      const original = decodeQuorumMessage(next.bytes);
      this.said.push({ from, to, message: original });
      for (const message of this.tamper(original, from, to)) {
        const bytes = encodeQuorumMessage(message);
        if (message.type === 'ask' || message.type === 'contribute') this.ask(from, to, bytes);
        else if (to === this.self.publicKey) this.feed({ type: 'message', from, bytes });
      }
    }
    return this;
  }

  private ask(from: HostId, to: HostId, bytes: Uint8Array): void {
    const bench = this.trustees.get(to);
    if (bench?.isUp) this.carryOut(bench, bench.trustee.step({ type: 'message', from, bytes }, this.now));
  }

  carryOut(bench: Bench, effects: readonly TrusteeEffect[]): void {
    const host = bench.signer.publicKey;
    for (const effect of effects) {
      if (!bench.isUp) return;
      if (effect.type === 'send') this.post(host, effect.to, effect.bytes);
      else if (effect.type === 'engine') {
        bench.orders.push(effect.order.type);
        for (const report of bench.engine.step(effect.order, this.now)) this.report(bench, report);
      } else if (effect.type === 'logged') bench.log.confirm(effect.entry);
      else this.write(bench, effect);
    }
  }

  private write(bench: Bench, effect: TrusteeEffect & { type: 'persist' }): void {
    const crash = this.crashes.get(bench.signer.publicKey);
    if (crash === 'before-write') bench.isUp = false;
    if (!bench.isUp) return;
    for (const op of effect.ops)
      if (op.type === 'put') bench.disk.set(op.key, op.value);
      else bench.disk.delete(op.key);
    if (crash === 'after-write') bench.isUp = false;
    this.carryOut(bench, effect.then);
  }

  private report(bench: Bench, report: EngineReport): void {
    this.carryOut(bench, bench.trustee.step({ type: 'engine', report }, this.now));
  }

  /** Until nobody waits for anything: signed or failed. */
  finish(): this {
    this.deliver();
    for (let wakes = 0; wakes < 200; wakes++) {
      const wake = this.requester.nextWake();
      if (wake === null) return this;
      this.now = Math.max(this.now, wake);
      this.feed({ type: 'wake' });
      this.deliver();
    }
    assert.fail('a signature never ends');
  }

  /** What became of a request: its signature, or the code of its failure. */
  outcome(requestId: string): Uint8Array | string {
    const found = this.outcomes.filter(
      (effect) => (effect.type === 'signed' || effect.type === 'failed') && effect.requestId === requestId,
    );
    assert.equal(found.length, 1, `${requestId} has one outcome`);
    const [effect] = found;
    return effect!.type === 'signed' ? effect!.signature : effect!.type === 'failed' ? effect!.code : '';
  }

  /** `reason label` of everybody who was blamed. */
  blamed(): string[] {
    return this.outcomes.flatMap((effect) =>
      effect.type === 'blamed' ? [`${effect.reason} ${this.hosts.indexOf(effect.host) + 1}`] : [],
    );
  }
}
