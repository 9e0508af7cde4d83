/**
 * This host's part in the root that no host holds: the succession of trustees, signatures asked of them and
 * given by them, and the care for roots that are to come or to go. Ties the machines of `src/trust/quorum` to
 * the agent's frames, store, engine and records. Pure.
 */
import { earliest, type HostId, type Millis, type Random, randomInt, type Signer } from '../../core.ts';
import type { CryptoReport } from '../../trust/epoch/crypto-port.ts';
import type { EpochDescriptor } from '../../trust/epoch/descriptor.ts';
import type { RecoveryOrder } from '../../trust/epoch/recovery.ts';
import type { LeafRules } from '../../trust/issuance/leaf-rules.ts';
import type { IssuanceLog } from '../../trust/log/issuance-log.ts';
import { Custodian, type CustodianEffect } from '../../trust/quorum/custodian.ts';
import type { EngineReport } from '../../trust/quorum/engine-port.ts';
import { LeafJudge, type LeafTask, leafRefusal, leafReply, leafTask } from '../../trust/quorum/leaf.ts';
import { encodePurpose, leafTag, type PurposeJudge, Purposes } from '../../trust/quorum/purpose.ts';
import {
  defaultRequesterTimings,
  QuorumRequester,
  type RequesterEffect,
  type RequesterInput,
} from '../../trust/quorum/requester.ts';
import { RootJudge, rootTag, TurnJudge, turnTag } from '../../trust/quorum/root-judge.ts';
import {
  type Office,
  QuorumTrustee,
  type TrusteeEffect,
  type TrusteeInput,
} from '../../trust/quorum/trustee.ts';
import type { TrustState } from '../../trust/state.ts';
import type { OwnWrite } from '../catalog/registry.ts';
import type { PolicyWrite } from '../commands.ts';
import type { AgentEffect, EpochEvent } from '../effects.ts';
import { type EnvelopeRoom, seal } from '../envelope.ts';
import {
  shortId,
  TRUST_ACK,
  TRUST_EPOCH,
  TRUST_ROOT,
  TRUST_STAND,
  type TrustAckValue,
  type TrustEpochValue,
} from '../kinds.ts';
import { twinAccusation, twinCountsMs } from './accusations.ts';
import type { RootStanding } from './root-standing.ts';
import type { Succession } from './succession.ts';
import type { TrustFacts } from './trust-facts.ts';

export interface QuorumOptions {
  readonly self: HostId;
  readonly signer: Signer;
  readonly random: Random;
  readonly trust: TrustState;
  readonly facts: TrustFacts;
  readonly standing: RootStanding;
  readonly succession: Succession;
  readonly rules: LeafRules;
  readonly log: IssuanceLog;
  /** What became of a request for a certificate: a reply frame for the `SvidKeeper`. */
  readonly leafAnswered: (reply: Uint8Array, now: Millis) => AgentEffect[];
  /** Another root's key is known: what was refused for lack of it may enter now. */
  readonly rootLearnt: () => void;
  /** Writes records of this host's own, and of the mesh's roots in this host's name. */
  readonly write: (own: readonly OwnWrite[], policy: readonly PolicyWrite[], now: Millis) => void;
}

export class Quorum {
  readonly custodian: Custodian;
  private readonly options: QuorumOptions;
  private readonly trustee: QuorumTrustee;
  private readonly requester: QuorumRequester;
  /** Certificates asked for, by the name of their signature. */
  private readonly leaves = new Map<string, LeafTask>();
  private offices = '';
  private rootCount = 1;

  constructor(options: QuorumOptions) {
    const { standing, random, trust, log, rules } = options;
    this.options = options;
    const judges: [number, PurposeJudge][] = [
      [leafTag, new LeafJudge(rules, trust.bundle)],
      [rootTag, new RootJudge(standing)],
      [turnTag, new TurnJudge(standing)],
    ];
    this.trustee = new QuorumTrustee({ purposes: new Purposes(new Map(judges)), log, context: standing });
    const firstId = randomInt(random, 2 ** 31);
    this.requester = new QuorumRequester({ timings: defaultRequesterTimings, firstId });
    this.custodian = new Custodian({ random, context: standing });
    this.rootsKnown();
  }

  nextWake(): Millis | null {
    return earliest(
      this.options.succession.nextWake(),
      this.trustee.nextWake(),
      this.requester.nextWake(),
      this.custodian.nextWake(),
    );
  }

  wake(now: Millis): AgentEffect[] {
    this.reconsider(now);
    return [
      ...this.succeeded(this.options.succession.wake(now)),
      ...this.judged({ type: 'wake' }, now),
      ...this.requested({ type: 'wake' }, now),
      ...this.kept(this.custodian.step({ type: 'wake' }, now), now),
    ];
  }

  /** Nobody needs another root while enough hold the one there is: this host's word must not outlast that. */
  private reconsider(now: Millis): void {
    const { self, facts, standing, succession, write } = this.options;
    const hash = facts.standOf(self);
    if (hash === null || succession.agreement.hasEntered(hash)) return;
    if (standing.isQuorumHere(standing.generation()))
      write([{ kind: TRUST_STAND, key: '', value: null }], [], now);
  }

  frame(
    room: 'epoch' | 'quorumRequest' | 'quorumAnswer',
    from: HostId,
    bytes: Uint8Array,
    now: Millis,
  ): AgentEffect[] {
    if (room === 'epoch') return this.succeeded(this.options.succession.frame(from, bytes, now));
    if (room === 'quorumRequest') return this.judged({ type: 'message', from, bytes }, now);
    return this.requested({ type: 'message', from, bytes }, now);
  }

  engine(report: EngineReport, now: Millis): AgentEffect[] {
    switch (report.type) {
      case 'offered':
      case 'contributed':
      case 'declined':
        return this.judged({ type: 'engine', report }, now);
      default:
        return this.succeeded(this.options.succession.crypto(report satisfies CryptoReport, now));
    }
  }

  /** Carries through what the holder of the cold seats has dealt. Throws a `Fault` for what nobody would follow. */
  recover(order: RecoveryOrder, now: Millis): AgentEffect[] {
    return this.succeeded(this.options.succession.recover(order, now));
  }

  unreachable(host: HostId, now: Millis): AgentEffect[] {
    return this.requested({ type: 'unreachable', host }, now);
  }

  /** Records were applied: some may be of epochs, or of roots. */
  recordsApplied(now: Millis): AgentEffect[] {
    const { facts, succession, trust } = this.options;
    const effects = facts
      .takeEpochRecords()
      .flatMap((bytes) => this.succeeded(succession.record(bytes, now)));
    const held = succession.agreement.shares().map(({ generation }) => generation);
    const spent = held.filter((generation) => trust.bundle.isSpent(generation));
    if (spent.length > 0) effects.push(...this.succeeded(succession.spent(spent, now)));
    return effects;
  }

  /** What rested on a write of the succession is durable. */
  epoch(event: Exclude<EpochEvent, { type: 'logged' }>, now: Millis): void {
    const { self, facts, standing, write } = this.options;
    if (event.type === 'stand') {
      const { epoch, hash } = event;
      if (facts.standOf(self) !== hash)
        write([{ kind: TRUST_STAND, key: '', value: { epoch, hash } }], [], now);
    } else if (event.type === 'publish') {
      const value: TrustEpochValue = {
        epoch: event.epoch,
        record: Buffer.from(event.bytes).toString('base64'),
      };
      if (facts.epochOf(self) !== event.epoch) write([{ kind: TRUST_EPOCH, key: '', value }], [], now);
    } else if (!standing.isTrustee(self) && facts.epochOf(self) !== null)
      write([{ kind: TRUST_EPOCH, key: '', value: null }], [], now);
  }

  /** Tells the mesh which roots this host's proxy believes, and the oldest that it still presents. */
  acknowledge(ack: TrustAckValue, now: Millis): void {
    const { self, facts, write } = this.options;
    if (JSON.stringify(facts.ackOf(self)) !== JSON.stringify(ack))
      write([{ kind: TRUST_ACK, key: '', value: ack }], [], now);
  }

  /** Asks the trustees for a certificate; `frame` is a request of the `SvidKeeper`. Throws `Fault`. */
  requestLeaf(frame: Uint8Array, now: Millis): AgentEffect[] {
    const task = leafTask(frame, this.options.trust.bundle, this.options.self);
    const requestId = `leaf/${task.requestId}`;
    this.leaves.set(requestId, task);
    return this.sign(requestId, task.generation, task.purpose, task.message, now);
  }

  private sign(
    requestId: string,
    generation: number,
    purpose: Uint8Array,
    message: Uint8Array,
    now: Millis,
  ): AgentEffect[] {
    const epoch = this.options.succession.agreement.ofGeneration(generation);
    if (epoch === undefined) {
      const failure = {
        code: 'epoch-unknown',
        message: `the epoch of root g${generation} is not known here`,
      };
      return this.failed({ type: 'failed', requestId, ...failure, retryAfterMs: 2000 }, now);
    }
    const order = this.orderOf(epoch);
    return this.requested({ type: 'sign', task: { requestId, epoch, purpose, message, order } }, now);
  }

  /** This host first, where it is one of them; then those who are here, in any order; then the others. */
  private orderOf({ plan }: EpochDescriptor): HostId[] {
    const { self, standing, random } = this.options;
    const classOf = (host: HostId): number => (host === self ? 0 : standing.isHere(host) ? 1 : 2);
    const rank = new Map(plan.trustees.map((host) => [host, classOf(host) + random.next()]));
    return plan.trustees.toSorted((a, b) => rank.get(a)! - rank.get(b)!);
  }

  /** Keeps in step with the chain of epochs whatever depends on it. */
  private rootsKnown(): void {
    const { agreement } = this.options.succession;
    const keys = agreement.rootKeys();
    this.options.trust.bundle.learn(keys);
    if (keys.size > this.rootCount) this.options.rootLearnt();
    this.rootCount = keys.size;
    const offices: Office[] = agreement.shares().flatMap(({ epoch, generation, name }) => {
      const plan = agreement.ofGeneration(generation)?.plan;
      return plan?.epoch === epoch ? [{ epoch, generation, shareName: name, threshold: plan.threshold }] : [];
    });
    const shown = JSON.stringify(offices);
    if (shown === this.offices) return;
    this.offices = shown;
    this.trustee.step({ type: 'offices', offices }, 0);
  }

  private succeeded(effects: AgentEffect[]): AgentEffect[] {
    if (effects.length > 0) this.rootsKnown();
    return effects;
  }

  private judged(input: TrusteeInput, now: Millis): AgentEffect[] {
    return this.trustee.step(input, now).map((effect) => this.trusteeEffect(effect));
  }

  private trusteeEffect(effect: TrusteeEffect): AgentEffect {
    switch (effect.type) {
      case 'send':
        return this.sendTo(effect.to, 'quorumAnswer', effect.bytes);
      case 'engine':
        return effect;
      case 'logged':
        return { type: 'input', input: { type: 'epoch', event: effect } };
      case 'persist':
        return { ...effect, then: effect.then.map((released) => this.trusteeEffect(released)) };
    }
  }

  private requested(input: RequesterInput, now: Millis): AgentEffect[] {
    return this.requester.step(input, now).flatMap((effect) => this.requesterEffect(effect, now));
  }

  private requesterEffect(effect: RequesterEffect, now: Millis): AgentEffect[] {
    switch (effect.type) {
      case 'send':
        return [this.sendTo(effect.to, 'quorumRequest', effect.bytes)];
      case 'signed':
        return this.signed(effect.requestId, effect.signature, now);
      case 'failed':
        return this.failed(effect, now);
      case 'blamed':
        return [warning('trustee-blamed', { host: shortId(effect.host), reason: effect.reason })];
      case 'alarm':
        return this.alarmed(effect, now);
    }
  }

  /** Whoever asks for the next signature may not notice: all shall hear of it. */
  private alarmed(effect: Extract<RequesterEffect, { type: 'alarm' }>, now: Millis): AgentEffect[] {
    const { self, facts, write } = this.options;
    const { code, host, detail } = effect;
    const before = facts.accusations.find(self, 'twin', host);
    if (before === undefined || now >= before.value.at + twinCountsMs / 2)
      write([twinAccusation(host, detail, now)], [], now);
    return [warning(code, { host: shortId(host), detail })];
  }

  private signed(requestId: string, signature: Uint8Array, now: Millis): AgentEffect[] {
    const task = this.leaves.get(requestId);
    if (task === undefined)
      return this.kept(
        this.custodian.step({ type: 'signed', requestId: rootIdOf(requestId), signature }, now),
        now,
      );
    this.leaves.delete(requestId);
    return this.options.leafAnswered(leafReply(task, signature, this.options.trust.bundle), now);
  }

  private failed(failure: Extract<RequesterEffect, { type: 'failed' }>, now: Millis): AgentEffect[] {
    const { requestId, code, message } = failure;
    const task = this.leaves.get(requestId);
    if (task === undefined) {
      const reason = `${code}: ${message}`;
      return this.kept(
        this.custodian.step({ type: 'failed', requestId: rootIdOf(requestId), reason }, now),
        now,
      );
    }
    this.leaves.delete(requestId);
    return this.options.leafAnswered(leafRefusal(task.requestId, failure), now);
  }

  private kept(effects: readonly CustodianEffect[], now: Millis): AgentEffect[] {
    return effects.flatMap((effect) => {
      if (effect.type === 'sign') {
        const purpose = encodePurpose(
          effect.request.type === 'root' ? rootTag : turnTag,
          effect.request.bytes,
        );
        return this.sign(`root/${effect.requestId}`, effect.generation, purpose, effect.message, now);
      }
      const { key, value } = effect;
      this.options.write([], [{ kind: TRUST_ROOT, key, value, operator: this.options.signer }], now);
      return [];
    });
  }

  private sendTo(to: HostId, room: EnvelopeRoom, payload: Uint8Array): AgentEffect {
    const bytes = seal(room, payload);
    return to === this.options.self
      ? { type: 'input', input: { type: 'frame', from: to, bytes } }
      : { type: 'send', to, bytes };
  }
}

function rootIdOf(requestId: string): number {
  return Number(requestId.slice('root/'.length));
}

function warning(event: string, fields: { readonly [name: string]: string }): AgentEffect {
  return { type: 'log', level: 'warn', event, fields };
}
