/**
 * The member table of one agent: everybody on the roster is alive at incarnation 0 until something else is
 * known, and only what deviates takes memory. Ten thousand simulated hosts fit in one process this way.
 */
import { type HostId, type Random, randomInt } from '../../core.ts';
import type { MemberState, MemberStatus } from '../port.ts';
import type { Accusation } from './claims.ts';
import type { Standing } from './member.ts';
import type { Roster } from './roster.ts';

interface Entry {
  state: MemberState;
  incarnation: number;
  roundTripMs: number | null;
  present: boolean;
  /** Its last word about itself, signed, is that it leaves. */
  saidGoodbye?: boolean;
  /** It is held as gone for that word only, which was said below its incarnation: it fell silent since. */
  presumedLeft?: boolean;
}

/** Weight of the newest sample in the smoothed round trip, as TCP's SRTT (RFC 6298, section 2). */
const roundTripGain = 1 / 8;
/** Random draws before falling back to a walk. */
const maxDraws = 24;
/** Steps of a walk in search of a member: bounds the work of one event in a mesh that is mostly down. */
const maxWalk = 256;

export class Members {
  readonly roster: Roster;
  private readonly self: HostId;
  private readonly random: Random;
  /** Whether whoever is on the roster is a member without being added: a roster shared by a simulator. */
  private readonly presumed: boolean;
  private readonly deviations = new Map<number, Entry>();
  private readonly down: number[] = [];
  private readonly downPosition = new Map<number, number>();
  private downCursor = 0;
  private presentCount = 0;
  private leftCount = 0;
  private cursor = 0;
  private stride = 1;
  private strideFor = 0;

  constructor(self: HostId, random: Random, roster: Roster, presumed: boolean) {
    this.self = self;
    this.random = random;
    this.roster = roster;
    this.presumed = presumed;
  }

  /** Members other than this one, whatever their state. */
  get count(): number {
    if (!this.presumed) return this.presentCount;
    return this.presentCount + this.roster.size - (this.roster.indexOf(this.self) === undefined ? 0 : 1);
  }

  get downCount(): number {
    return this.down.length;
  }

  /** Members that are alive or suspect. */
  get reachableCount(): number {
    return this.count - this.down.length - this.leftCount;
  }

  /** False when it was a member already. */
  add(id: HostId): boolean {
    const index = this.roster.add(id);
    if (id === this.self || this.isPresent(index)) return false;
    this.deviations.set(index, {
      state: 'alive',
      incarnation: this.deviations.get(index)?.incarnation ?? 0,
      roundTripMs: null,
      present: true,
    });
    this.presentCount++;
    return true;
  }

  /** Takes a member out; what is known of its incarnation stays, so that it cannot fall on return. */
  remove(index: number): void {
    if (!this.isPresent(index)) return;
    this.uncount(index, this.state(index));
    const entry = this.entry(index);
    entry.present = false;
    entry.state = 'alive';
    this.presentCount--;
  }

  /** The number of a member other than this one; undefined for strangers. */
  indexOf(id: HostId): number | undefined {
    const index = this.roster.indexOf(id);
    return index !== undefined && id !== this.self && this.isPresent(index) ? index : undefined;
  }

  /**
   * Whether a claim about a member is worth a suspicion: of its incarnation or a later one, and by a member: not
   * by a name that is made up, by the accused, or by this agent, which knows best what it said.
   */
  isAccusation(index: number, claim: Accusation): boolean {
    const isCurrent = claim.incarnation >= this.incarnation(index);
    return isCurrent && claim.accuser !== claim.id && this.indexOf(claim.accuser) !== undefined;
  }

  private isPresent(index: number): boolean {
    return this.deviations.get(index)?.present ?? this.presumed;
  }

  private entry(index: number): Entry {
    let entry = this.deviations.get(index);
    if (entry === undefined) {
      entry = { state: 'alive', incarnation: 0, roundTripMs: null, present: this.presumed };
      this.deviations.set(index, entry);
    }
    return entry;
  }

  state(index: number): MemberState {
    return this.deviations.get(index)?.state ?? 'alive';
  }

  standing(index: number): Standing {
    return { state: this.state(index), incarnation: this.incarnation(index) };
  }

  incarnation(index: number): number {
    return this.deviations.get(index)?.incarnation ?? 0;
  }

  /** Sets what is held about a member. The caller has consulted `outranks`. */
  set(index: number, standing: Standing): void {
    const entry = this.entry(index);
    if (entry.state !== standing.state) {
      this.uncount(index, entry.state);
      if (standing.state === 'down') {
        this.downPosition.set(index, this.down.length);
        this.down.push(index);
      }
      if (standing.state === 'left') this.leftCount++;
    }
    entry.state = standing.state;
    entry.incarnation = Math.max(entry.incarnation, standing.incarnation);
    entry.presumedLeft = false;
  }

  /** Takes note of what a member's own record says last: that it leaves, or is here. */
  noteWord(index: number, leaves: boolean): void {
    this.entry(index).saidGoodbye = leaves;
  }

  /** What a member is that cannot be reached: gone as it said, or down. */
  stateOfSilence(index: number): 'left' | 'down' {
    return this.deviations.get(index)?.saidGoodbye === true ? 'left' : 'down';
  }

  /** Whether a member's state, `left`, was made out from its silence, or comes from a word that says as much. */
  presumeLeft(index: number, presumed: boolean): void {
    this.entry(index).presumedLeft = presumed;
  }

  isPresumedLeft(index: number): boolean {
    return this.deviations.get(index)?.presumedLeft === true;
  }

  private uncount(index: number, state: MemberState): void {
    if (state === 'left') this.leftCount--;
    const position = this.downPosition.get(index);
    if (position === undefined) return;
    this.downPosition.delete(index);
    const last = this.down.pop()!;
    if (last === index) return;
    this.down[position] = last;
    this.downPosition.set(last, position);
  }

  /**
   * Returns the member with its smoothed round trip. It rises slowly and falls at once: a busy host adds to a
   * sample, nothing takes away from it, and the first ones come while both sides are still busy starting.
   */
  noteRoundTrip(index: number, sampleMs: number): MemberStatus & { readonly roundTripMs: number } {
    const entry = this.entry(index);
    const held = entry.roundTripMs;
    const isLeast = held === null || sampleMs < held;
    const roundTripMs = isLeast ? sampleMs : held + roundTripGain * (sampleMs - held);
    entry.roundTripMs = roundTripMs;
    return { ...this.describe(index), roundTripMs };
  }

  describe(index: number): MemberStatus {
    const entry = this.deviations.get(index);
    return {
      id: this.roster.idAt(index),
      state: entry?.state ?? 'alive',
      incarnation: entry?.incarnation ?? 0,
      roundTripMs: entry?.roundTripMs ?? null,
    };
  }

  /** Every member but this one, in order of the roster. */
  *all(): IterableIterator<MemberStatus> {
    for (let index = 0; index < this.roster.size; index++)
      if (this.isMember(index)) yield this.describe(index);
  }

  private isMember(index: number): boolean {
    return this.isPresent(index) && this.roster.idAt(index) !== this.self;
  }

  private isReachable(index: number): boolean {
    const state = this.state(index);
    return (state === 'alive' || state === 'suspect') && this.isMember(index);
  }

  /** Suspect and down members, at most `limit`: what a newcomer should be told. */
  impaired(limit: number): MemberStatus[] {
    const found = this.down.slice(0, limit);
    for (const [index, entry] of this.deviations) {
      if (found.length >= limit) break;
      if (entry.state === 'suspect' && entry.present) found.push(index);
    }
    return found.map((index) => this.describe(index));
  }

  /** The down members in turn, so that one who is back does not wait behind chance and the dead. */
  nextDown(): number | undefined {
    if (this.down.length === 0) return undefined;
    this.downCursor = (this.downCursor + 1) % this.down.length;
    return this.down[this.downCursor];
  }

  /** A random member that is thought reachable and passes `accept`; undefined if none was found. */
  randomReachable(accept: (index: number) => boolean): number | undefined {
    const size = this.roster.size;
    if (size === 0) return undefined;
    for (let draw = 0; draw < maxDraws; draw++) {
      const index = randomInt(this.random, size);
      if (this.isReachable(index) && accept(index)) return index;
    }
    const start = randomInt(this.random, size);
    for (let step = 0; step < Math.min(size, maxWalk); step++) {
      const index = (start + step) % size;
      if (this.isReachable(index) && accept(index)) return index;
    }
    return undefined;
  }

  /** Up to `count` different random reachable members, without `except`. */
  sample(count: number, except: number | undefined): number[] {
    const chosen: number[] = [];
    while (chosen.length < count) {
      const index = this.randomReachable((found) => found !== except && !chosen.includes(found));
      if (index === undefined) break;
      chosen.push(index);
    }
    return chosen;
  }

  /**
   * The next target of the probe round: every reachable member once a round, in an order of this agent's
   * own (SWIM section 4.3), which bounds the time until a death is noticed. The order is a walk with a
   * random stride coprime to the roster's size: no list to keep, and a new stride every round.
   */
  nextInRound(): number | undefined {
    const size = this.roster.size;
    if (size === 0) return undefined;
    for (let step = 0; step < Math.min(size, maxWalk); step++) {
      if (this.strideFor !== size || this.cursor === 0) this.chooseStride(size);
      this.cursor = (this.cursor + this.stride) % size;
      if (this.isReachable(this.cursor)) return this.cursor;
    }
    return undefined;
  }

  private chooseStride(size: number): void {
    if (this.strideFor !== size) this.cursor = randomInt(this.random, size);
    this.strideFor = size;
    do this.stride = 1 + randomInt(this.random, size);
    while (greatestCommonDivisor(this.stride, size) !== 1);
  }
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
