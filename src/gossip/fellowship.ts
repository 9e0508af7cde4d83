/**
 * Keeps membership, which runs apart, in step with the replica: records make members and let them go, reports
 * say how they fare. What follows for the rest of the agent goes out as effects.
 */
import type { HostId, Millis } from '../core.ts';
import type { Digest } from './frames.ts';
import { MemberList } from './member-list.ts';
import { incarnationsPerEpoch } from './membership/swim.ts';
import type { GossipEffect } from './port.ts';
import {
  type Departure,
  denialSlot,
  deniedHostIn,
  departureKind,
  departureSlot,
  type Lifecycle,
  parseDeparture,
  parseLifecycle,
} from './replica/lifecycle.ts';
import { hlcMillis, type Record, slotOf } from './replica/record.ts';
import type { Replica } from './replica/replica.ts';
import type { SwimOrder, SwimReport, SwimStats } from './swim-port.ts';

/**
 * How far above the incarnation last reported a goodbye is said: refutations may be on their way between the
 * threads, and a goodbye below them would count for nothing.
 */
const goodbyeLeap = 16;
/** That this host is not gone is said once more if it is not in writing by then. */
const denyAgainAfterMs: Millis = 10_000;

export interface FellowshipOptions {
  readonly self: HostId;
  readonly epoch: number;
  readonly replica: Replica;
  /** Host-scope kind, key '', whose presence makes its author a member. */
  readonly memberKind: string;
  /** Host-scope kind, key '', by which a member says that it left, or is back. */
  readonly leftKind: string;
  readonly emit: (effect: GossipEffect) => void;
}

export class Fellowship {
  readonly list: MemberList;
  private readonly options: FellowshipOptions;
  /** The root that membership puts into its acks; that of an empty replica at first. */
  private toldRoot: Digest;
  /** The incarnation of the goodbye, once said. */
  private saidGoodbyeAt: number | null = null;
  /**
   * The incarnation at which this host is said to be gone, by an operator or its own goodbye of an earlier run, until
   * it has denied that in writing.
   */
  private saidGoneAt: number | null = null;
  private deniedAt: Millis = Number.NEGATIVE_INFINITY;

  constructor(options: FellowshipOptions) {
    this.options = options;
    this.list = new MemberList(options.self, options.epoch * incarnationsPerEpoch);
    this.toldRoot = options.replica.root();
  }

  order(order: SwimOrder): void {
    this.options.emit({ type: 'swim', order });
  }

  /** Tells membership what the replica's digest is now, if it changed. */
  tellRoot(): void {
    const root = this.options.replica.root();
    if (root === this.toldRoot) return;
    this.toldRoot = root;
    this.order({ type: 'root', root });
  }

  /** Takes in a report; those of type `root` concern anti-entropy, not this. */
  take(report: SwimReport, now: Millis): void {
    const { emit } = this.options;
    if (report.type === 'stats') this.tellFalseClaims(report.stats);
    const change = this.list.take(report, now);
    if (change !== null) emit({ type: 'member', ...change });
    if (report.type === 'frame') emit({ type: 'send', to: report.to, bytes: report.bytes });
    else if (report.type === 'connect' || report.type === 'disconnect') emit(report);
  }

  /** Whoever claims deaths of the living is named when that is found. */
  private tellFalseClaims({ discredited }: SwimStats): void {
    const known = this.list.stats.discredited;
    for (const subject of discredited)
      if (!known.includes(subject))
        this.options.emit({
          type: 'alarm',
          code: 'false-claims',
          subject,
          detail: 'it says of members that answer here that they are down: cut off from them, or lying',
        });
  }

  /** Takes in records that won their slots. */
  note(applied: readonly Record[], now: Millis): void {
    const { self, memberKind, leftKind } = this.options;
    for (const record of applied) {
      const { scope, kind, key, author, deleted } = record;
      const denied = deniedHostIn(record);
      if (denied !== null) this.expel(denied);
      if (scope === 'policy' && kind === departureKind) this.tellDeparture(key);
      if (scope !== 'host' || key !== '') continue;
      if (author === self) {
        if (kind === leftKind) this.noteOwnWord();
        continue;
      }
      if (kind === memberKind) {
        if (deleted) this.remove(author);
        else this.add(author, now);
        this.tellDeparture(author);
      }
      const said = kind === memberKind || kind === leftKind ? this.lifecycleOf(author) : null;
      if (said !== null) this.order({ type: 'lifecycle', id: author, ...said });
    }
  }

  /** Lets go of the members whose records were collected. */
  forget(collected: readonly Record[]): void {
    for (const { scope, kind, key, author } of collected)
      if (scope === 'host' && kind === this.options.memberKind && key === '') this.remove(author);
  }

  /** The operator's word is for good: whatever it says, and whoever passes that on, it is no member again. */
  private expel(id: HostId): void {
    const { emit, self } = this.options;
    const detail = 'an operator denied this host: it belongs to the mesh no more';
    emit({ type: 'alarm', code: 'host-denied', subject: id, detail });
    if (id === self) return;
    this.remove(id);
    emit({ type: 'expel', peer: id });
  }

  /** Since when a host is shut out; null for all others. */
  expelledSince(id: HostId): Millis | null {
    const record = this.options.replica.get(denialSlot(id));
    return record === undefined || deniedHostIn(record) === null ? null : hlcMillis(record.hlc);
  }

  private add(id: HostId, now: Millis): void {
    if (this.expelledSince(id) !== null) return;
    const member = this.list.add(id, now);
    if (member === null) return;
    this.order({ type: 'add', id });
    this.options.emit({ type: 'member', member, was: null });
  }

  private remove(id: HostId): void {
    const member = this.list.remove(id);
    if (member === undefined) return;
    this.order({ type: 'remove', id });
    this.options.emit({ type: 'member', member: { ...member, state: 'left' }, was: member.state });
  }

  /** The operator's word on a host, if there is one, and it has come before the host or after. */
  private tellDeparture(host: HostId): void {
    const departure = this.departureOf(host);
    if (departure === null) return;
    const { incarnation } = departure;
    this.order({ type: 'lifecycle', id: host, state: 'departed', incarnation });
    if (host !== this.options.self) return;
    this.saidGoneAt = Math.max(incarnation, this.saidGoneAt ?? 0);
    this.noteOwnWord();
  }

  /** What this host says of itself is in the replica, hence durable. */
  private noteOwnWord(): void {
    const said = this.lifecycleOf(this.options.self)?.incarnation ?? -1;
    if (this.saidGoneAt !== null && said > this.saidGoneAt) this.saidGoneAt = null;
  }

  /**
   * Whether a host is gone by what is in writing, which is the same for everybody: those who have been there may know
   * of an incarnation above that.
   */
  isSaidGone(host: HostId): boolean {
    const own = this.lifecycleOf(host);
    if (own?.state === 'left') return true;
    const departure = this.departureOf(host);
    return departure !== null && departure.incarnation >= (own?.incarnation ?? 0);
  }

  private departureOf(host: HostId): Departure | null {
    const record = this.options.replica.get(departureSlot(host));
    return record === undefined ? null : parseDeparture(record);
  }

  private lifecycleOf(author: HostId): Lifecycle | null {
    const { replica, leftKind } = this.options;
    const record = replica.get(slotOf({ scope: 'host', author, kind: leftKind, key: '' }));
    return record === undefined ? null : parseLifecycle(record);
  }

  /** At the start: undoes the goodbye that this agent had said before, if it had. */
  comeBack(): void {
    const said = this.lifecycleOf(this.options.self);
    if (said?.state !== 'left') return;
    this.order({ type: 'rejoin', leftAt: said.incarnation });
    this.list.raiseIncarnation(said.incarnation + 1);
    this.saidGoneAt = Math.max(said.incarnation, this.saidGoneAt ?? 0);
  }

  /**
   * What to say of the word that this host is gone: null unless it has outlived that, and now and then until it is in
   * writing. Others forget incarnations when they start, and would stop waiting for this host when it is down.
   */
  denyDeparture(now: Millis): Lifecycle | null {
    const { incarnation } = this.list;
    if (this.saidGoneAt === null || incarnation <= this.saidGoneAt || this.saidGoodbyeAt !== null)
      return null;
    if (now < this.deniedAt + denyAgainAfterMs) return null;
    this.deniedAt = now;
    return { state: 'active', incarnation };
  }

  /** Has `write` say in writing that this host leaves; nothing changed where that throws. */
  goodbye<T>(write: (goodbye: Lifecycle) => T): T {
    const incarnation = this.list.incarnation + goodbyeLeap;
    const written = write({ state: 'left', incarnation });
    this.saidGoodbyeAt = incarnation;
    return written;
  }

  /** Whether membership has refuted so much since the goodbye that it must be said anew. */
  get isGoodbyeOutdated(): boolean {
    return this.saidGoodbyeAt !== null && this.list.incarnation > this.saidGoodbyeAt;
  }
}
