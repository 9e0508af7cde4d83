/**
 * Membership as a machine of its own: bytes and orders in, datagrams and reports out. The membership thread
 * and the simulator drive this class and nothing behind it.
 */
import {
  Fault,
  type HostId,
  type Machine,
  type Millis,
  type Random,
  type Signer,
  type Verify,
} from '../../core.ts';
import { decodeFrame, encodeFrame } from '../framecodec.ts';
import type { Digest } from '../frames.ts';
import { defaultSwimParameters, type SwimParameters } from '../parameters.ts';
import {
  type MembershipEffect,
  type MembershipInput,
  type SwimEffect,
  type SwimInput,
  type SwimOrder,
  type SwimStats,
  statsEveryMs,
  type Via,
} from '../swim-port.ts';
import { Membership } from './membership.ts';
import { aliveProof, isAliveProof } from './proof.ts';

export interface SwimOptions {
  readonly self: HostId;
  readonly signer: Signer;
  readonly verify: Verify;
  readonly random: Random;
  /** How many times this agent has started, counted on disk: every run outranks the ones before. */
  readonly epoch: number;
  /** Digest of an empty replica, until an order says otherwise. */
  readonly root: Digest;
  /** The wall clock, where `step` is given another. */
  readonly wallMs?: () => Millis;
  readonly parameters?: SwimParameters;
}

/** Incarnations of one run; an epoch leaves this much room for refutations. */
export const incarnationsPerEpoch: number = 2 ** 16;

export class Swim implements Machine<SwimInput, SwimEffect> {
  readonly membership: Membership;
  private root: Digest;
  /** Members whose replica differed from this agent's when last heard of. */
  private readonly differing = new Set<HostId>();
  /** Members that were removed; the roster keeps as many ids for good. */
  private readonly departed = new Set<HostId>();
  private toldIncarnation: number;
  private toldStats = '';
  private nextStatsAt: Millis = 0;
  private steppedAt: Millis = 0;
  private effects: SwimEffect[] = [];

  constructor({ self, signer, verify, random, epoch, root, wallMs, parameters }: SwimOptions) {
    this.root = root;
    this.toldIncarnation = epoch * incarnationsPerEpoch;
    this.membership = new Membership({
      self,
      random,
      incarnation: this.toldIncarnation,
      prove: (incarnation) => aliveProof(signer, incarnation),
      isProof: (id, incarnation, proof) => isAliveProof(verify, id, incarnation, proof),
      root: () => this.root,
      ...(wallMs === undefined ? {} : { wallMs }),
      parameters: parameters ?? defaultSwimParameters,
    });
  }

  nextWake(): Millis | null {
    return this.membership.nextWake();
  }

  get stats(): SwimStats {
    const { stats, localHealth } = this.membership;
    return {
      ...stats,
      probeOutcomes: { ...stats.probeOutcomes },
      localHealth,
      ...this.membership.findings(this.steppedAt),
    };
  }

  step(input: SwimInput, now: Millis): readonly SwimEffect[] {
    this.steppedAt = now;
    if (input.type === 'wake') this.relay(this.membership.step(input, now));
    else if (input.type === 'datagram') this.frame(input.from, input.bytes, 'datagram', now);
    else this.obey(input.order, now);
    this.tellIncarnation();
    this.tellStats(now);
    const effects = this.effects;
    this.effects = [];
    return effects;
  }

  private obey(order: SwimOrder, now: Millis): void {
    const { membership } = this;
    switch (order.type) {
      case 'add':
        membership.add(order.id, now);
        if (this.departed.delete(order.id)) this.tellReturn(order.id);
        break;
      case 'remove':
        this.differing.delete(order.id);
        if (membership.get(order.id) !== undefined) this.departed.add(order.id);
        membership.remove(order.id);
        break;
      case 'lifecycle':
        membership.noteLifecycle(order.id, order.state, order.incarnation, now);
        break;
      case 'root':
        this.root = order.root;
        return;
      case 'leave':
        membership.leave();
        break;
      case 'rejoin':
        membership.rejoin(order.leftAt);
        break;
      case 'frame':
        this.frame(order.from, order.bytes, 'stream', now);
        return;
      default:
        this.relay(membership.step(order, now));
        return;
    }
    this.relay(membership.drain(now));
  }

  /** Reports of its first time may still be on their way to the others, who would take them for the present. */
  private tellReturn(id: HostId): void {
    const member = this.membership.get(id);
    if (member !== undefined)
      this.effects.push({ type: 'report', report: { type: 'member', member, was: null } });
  }

  private frame(from: HostId, bytes: Uint8Array, via: Via, now: Millis): void {
    let input: MembershipInput;
    try {
      const frame = decodeFrame(bytes);
      if ('session' in frame) throw new Fault('malformed', 'anti-entropy does not travel this way');
      input = { type: 'frame', from, frame, via };
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.membership.stats.badFrames++;
      return;
    }
    this.relay(this.membership.step(input, now));
  }

  private relay(effects: readonly MembershipEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'send') {
        const { to } = effect;
        const bytes = encodeFrame(effect.frame);
        if (effect.via === 'datagram') this.effects.push({ type: 'datagram', to, bytes });
        else this.effects.push({ type: 'report', report: { type: 'frame', to, bytes } });
      } else if (effect.type !== 'root' || this.isNews(effect.peer, effect.root))
        this.effects.push({ type: 'report', report: effect });
    }
  }

  /** In a mesh at rest every ack says the same: that need not wake the rest of the agent. */
  private isNews(peer: HostId, root: Digest): boolean {
    if (root === this.root) return this.differing.delete(peer);
    this.differing.add(peer);
    return true;
  }

  private tellIncarnation(): void {
    const { incarnation } = this.membership;
    if (incarnation === this.toldIncarnation) return;
    this.toldIncarnation = incarnation;
    this.effects.push({ type: 'report', report: { type: 'incarnation', incarnation } });
  }

  private tellStats(now: Millis): void {
    if (now < this.nextStatsAt) return;
    this.nextStatsAt = now + statsEveryMs;
    const { stats } = this;
    const text = JSON.stringify(stats);
    if (text === this.toldStats) return;
    this.toldStats = text;
    this.effects.push({ type: 'report', report: { type: 'stats', stats } });
  }
}
