/**
 * What was signed with the mesh's roots, for everybody to see: shows this host's issuance log to others, reads
 * theirs, and tells the mesh the head of its own now and then, so that nobody can tell two stories. Pure.
 */
import {
  assert,
  earliest,
  Fault,
  type HostId,
  type Millis,
  type Random,
  randomInt,
  type Signer,
  type Verify,
} from '../../core.ts';
import { HeadBook } from '../../trust/log/head-book.ts';
import type { IssuanceEntry, IssuanceLog } from '../../trust/log/issuance-log.ts';
import { maxLogEntries } from '../../trust/log/issuance-log.ts';
import { LogKeeper } from '../../trust/log/log-keeper.ts';
import { LogReader, type LogReaderEffect, type LogReaderInput } from '../../trust/log/log-reader.ts';
import { LogWalk } from '../../trust/log/log-walk.ts';
import {
  decodeHead,
  type Equivocation,
  encodeEquivocation,
  encodeHead,
  type SignedHead,
} from '../../trust/log/transparency.ts';
import type { TrustState } from '../../trust/state.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { OwnWrite } from '../catalog/registry.ts';
import type { AgentEffect } from '../effects.ts';
import { seal } from '../envelope.ts';
import { TRUST_HEAD, type TrustHeadValue } from '../kinds.ts';
import { type Accusation, evidenceIn, forkAccusation, twinCountsMs } from './accusations.ts';
import type { CaLog, CaLogAlarm, CaLogEntry, CaLogSource, ReadCaLog } from './ca-port.ts';
import { hostNameOf } from './ca-status.ts';
import type { TrustFacts } from './trust-facts.ts';

export interface LedgerOptions {
  readonly self: HostId;
  readonly signer: Signer;
  readonly verify: Verify;
  readonly random: Random;
  readonly trust: TrustState;
  readonly catalog: Catalog;
  readonly facts: TrustFacts;
  readonly log: IssuanceLog;
  /** Who signs now. */
  readonly trustees: () => readonly HostId[];
  /** Who signs now or ever did, as far as is known here. */
  readonly trusteesEver: () => ReadonlySet<HostId>;
  readonly write: (own: readonly OwnWrite[], now: Millis) => void;
}

/** The head of a log that grows is told so often at most. */
export const headEveryMs = 60_000;
/** Trustees found to tell two stories; what comes after so many is logged only. */
const maxAlarms = 64;

interface Reading {
  readonly request: number;
  /** Only what this host asked for. */
  readonly requester: HostId | null;
  /** Of trustees that are out of the mesh. */
  readonly gone: readonly LogWalk[];
  /** How long logs are by the heads that were known when the reading began: what is shown later is no shorter. */
  readonly told: ReadonlyMap<HostId, number>;
}

export class Ledger {
  private readonly options: LedgerOptions;
  private readonly keeper: LogKeeper;
  private readonly reader: LogReader;
  private readonly book: HeadBook;
  private readonly found = new Map<HostId, CaLogAlarm>();
  /** What some host's word is all there is for, by whom it is about. */
  private twins = new Map<HostId, CaLogAlarm>();
  /** When the first word for one of them counts no more. */
  private twinsUntil: Millis | null = null;
  /** Of the accusations when `twins` was made. */
  private twinsRevision = 0;
  private readonly readings = new Map<number, Reading>();
  private lastReading = 0;
  /** The hash of the head that was told last. */
  private told: string | null = null;
  private tellAt: Millis = 0;

  constructor(options: LedgerOptions) {
    const { trust, signer, verify, random, log } = options;
    const mesh = trust.genesis.hash;
    this.options = options;
    this.keeper = new LogKeeper(mesh, signer, log);
    this.reader = new LogReader({ mesh, verify, firstId: randomInt(random, 2 ** 31) });
    this.book = new HeadBook(mesh, verify);
  }

  /** Trustees that told two stories, and those that some host saw running twice. */
  alarms(): readonly CaLogAlarm[] {
    return [...this.found.values(), ...this.twins.values()];
  }

  nextWake(): Millis | null {
    const isNews = this.options.log.durableHead !== undefined && this.isNews();
    return earliest(this.reader.nextWake(), isNews ? this.tellAt : null, this.twinsUntil);
  }

  wake(now: Millis): AgentEffect[] {
    if (this.isNews() && now >= this.tellAt) this.tell(now);
    if (this.twinsUntil !== null && now >= this.twinsUntil) this.countTwins(now);
    return this.read({ type: 'wake' }, now);
  }

  private isNews(): boolean {
    const head = this.options.log.durableHead;
    return head !== undefined && head.hash !== this.told;
  }

  private tell(now: Millis): void {
    const head = this.keeper.head(now);
    this.told = head.hash;
    this.tellAt = now + headEveryMs;
    const value: TrustHeadValue = { head: Buffer.from(encodeHead(head)).toString('base64') };
    this.options.write([{ kind: TRUST_HEAD, key: '', value }], now);
  }

  /**
   * A request for a page of this host's log. Throws `Fault('malformed')`. Where the log cannot be read there is no
   * answer: the head of an empty one would be a second story.
   */
  request(from: HostId, bytes: Uint8Array, now: Millis): AgentEffect[] {
    if (this.options.log.problem !== null) return [];
    return [{ type: 'send', to: from, bytes: seal('logAnswer', this.keeper.answer(from, bytes, now)) }];
  }

  answer(from: HostId, bytes: Uint8Array, now: Millis): AgentEffect[] {
    return this.read({ type: 'message', from, bytes }, now);
  }

  unreachable(host: HostId, now: Millis): AgentEffect[] {
    return this.read({ type: 'unreachable', host }, now);
  }

  /**
   * Records were applied: some may tell of heads, or of what others found out. Who never signed for the mesh has no
   * log to follow.
   */
  recordsApplied(now: Millis): AgentEffect[] {
    return [...this.headsTold(now), ...this.accusationsTold(now)];
  }

  private accusationsTold(now: Millis): AgentEffect[] {
    const { facts, trusteesEver, trust, verify } = this.options;
    const { accusations } = facts;
    const news = accusations.hasNews ? accusations.takeNews(trusteesEver()) : [];
    if (news.length > 0 || accusations.revision !== this.twinsRevision) this.countTwins(now);
    return news.flatMap((accusation) => {
      const { accused, charge } = accusation;
      if (charge !== 'fork' || this.found.has(accused)) return [];
      const evidence = evidenceIn(accusation, trust.genesis.hash, verify);
      return evidence === null ? [] : this.convicted(accused, evidence);
    });
  }

  private countTwins(now: Millis): void {
    const { facts, trusteesEver } = this.options;
    const ever = trusteesEver();
    const words = facts.accusations
      .all()
      .filter(
        ({ charge, accused, value: { at } }) =>
          charge === 'twin' && ever.has(accused) && now < at + twinCountsMs,
      );
    const byAccused = Map.groupBy(words, ({ accused }) => accused);
    this.twins = new Map(
      [...byAccused].slice(0, maxAlarms).map(([id, said]) => [id, this.twinAlarm(id, said)]),
    );
    this.twinsUntil = earliest(...words.map(({ value }) => value.at + twinCountsMs));
    this.twinsRevision = facts.accusations.revision;
  }

  private twinAlarm(id: HostId, [first, ...others]: readonly Accusation[]): CaLogAlarm {
    assert(first !== undefined, 'somebody says so');
    const witness = hostNameOf(first.by, this.options);
    const more = others.length === 0 ? '' : ` and ${others.length} more`;
    const detail = `runs twice, as ${witness}${more} saw: ${first.value.detail}`;
    return { id, name: hostNameOf(id, this.options), detail, evidence: '' };
  }

  private headsTold(now: Millis): AgentEffect[] {
    const { facts, trusteesEver } = this.options;
    if (!facts.hasHeads) return [];
    return facts.takeHeads(trusteesEver()).flatMap(([host, value]) => {
      try {
        const head = decodeHead(Buffer.from(value.head, 'base64'));
        if (head.trustee !== host) throw new Fault('head-forged', 'a host told of the head of another');
        return this.noted(head, now);
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        return [];
      }
    });
  }

  /** Begins to read every log; `request` is answered once all are read. Throws `Fault`: `unknown-host`, `overloaded`. */
  ask(request: number, { host }: ReadCaLog, now: Millis): AgentEffect[] {
    const requester = host === null ? null : this.hostOf(host);
    const readId = ++this.lastReading;
    // Of trustees that this host has learnt of since they told of their heads.
    const alarms = this.recordsApplied(now);
    const { self, trustees, trusteesEver } = this.options;
    const others = new Set([...trustees(), ...trusteesEver(), ...this.book.trustees()]);
    others.delete(self);
    const gone = [...others].flatMap((id) => this.goneWalk(id) ?? []);
    for (const { trustee } of gone) others.delete(trustee);
    const told = new Map(this.book.trustees().map((id) => [id, this.book.longestOf(id)?.sequence ?? 0]));
    this.readings.set(readId, { request, requester, gone, told });
    try {
      return [...alarms, ...this.read({ type: 'read', readId, trustees: [...others] }, now)];
    } catch (error) {
      this.readings.delete(readId);
      throw error;
    }
  }

  /** For a trustee that is out of the mesh, and not asked; null for one that may answer. */
  private goneWalk(id: HostId): LogWalk | null {
    const { catalog, trust } = this.options;
    const state = catalog.host(id)?.state ?? (this.isTrustee(id) ? 'alive' : 'left');
    const problem = trust.isDenied(id) ? 'denied' : state === 'left' ? 'left' : null;
    if (problem === null) return null;
    const walk = new LogWalk(id);
    walk.fail(problem);
    return walk;
  }

  /** A name is that of who bears it now, else of whoever was denied with it last. */
  private hostOf(name: string): HostId {
    const { catalog, trust } = this.options;
    const id = catalog.hostNamed(name)?.id ?? trust.nameHolder(name, '') ?? this.deniedNamed(name) ?? name;
    if (!trust.wasAdmitted(id) && catalog.host(id) === undefined)
      throw new Fault('unknown-host', `there is no host ${name}`, { field: 'host' });
    return id;
  }

  private deniedNamed(name: string): HostId | undefined {
    const { trust } = this.options;
    const hosts = trust.denials.all().flatMap(({ denied }) => (denied.type === 'host' ? [denied.host] : []));
    return hosts.find((host) => trust.entryOf(host)?.name === name);
  }

  private read(input: LogReaderInput, now: Millis): AgentEffect[] {
    return this.reader.step(input, now).flatMap((effect) => this.outward(effect, now));
  }

  private outward(effect: LogReaderEffect, now: Millis): AgentEffect[] {
    if (effect.type === 'send')
      return [{ type: 'send', to: effect.to, bytes: seal('logRequest', effect.bytes) }];
    const reading = this.readings.get(effect.readId)!;
    this.readings.delete(effect.readId);
    return this.concluded(reading, effect.logs, now);
  }

  /** Whoever asked is answered, though it be with what went wrong. */
  private concluded(reading: Reading, logs: readonly LogWalk[], now: Millis): AgentEffect[] {
    const { request } = reading;
    try {
      const alarms = logs.flatMap((walk) => this.audited(walk, reading, now));
      const value = this.merged(reading, [...logs, ...reading.gone], now);
      return [...alarms, { type: 'reply', request, value }];
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return [{ type: 'fail', request, fault: error }];
    }
  }

  /** Holds what a trustee showed against what it, or others of it, showed before. */
  private audited(walk: LogWalk, { told }: Reading, now: Millis): AgentEffect[] {
    const { head, entries, trustee } = walk;
    if (head === null) return [];
    if (walk.problem === null && head.sequence < (told.get(trustee) ?? 0)) walk.fail('shorter-than-told');
    const evidence = this.book.compare(head, entries);
    return evidence === null ? this.noted(head, now) : this.foundOut(trustee, evidence, now);
  }

  private noted(head: SignedHead, now: Millis): AgentEffect[] {
    const evidence = this.book.note(head);
    return evidence === null ? [] : this.foundOut(head.trustee, evidence, now);
  }

  /** This host has the two halves of it: now all shall have them. */
  private foundOut(accused: HostId, evidence: Equivocation, now: Millis): AgentEffect[] {
    const { facts, self, write } = this.options;
    const record = forkAccusation(accused, evidence, now);
    if (record !== null && facts.accusations.find(self, 'fork', accused) === undefined) write([record], now);
    return this.convicted(accused, evidence);
  }

  private convicted(id: HostId, evidence: Equivocation): AgentEffect[] {
    const name = hostNameOf(id, this.options);
    const { earlier, later } = evidence;
    const detail = `signed two heads of its issuance log, of ${earlier.sequence} and ${later.sequence} entries, that cannot be of one log`;
    const isFirst = !this.found.has(id);
    if (isFirst && this.found.size < maxAlarms)
      this.found.set(id, {
        id,
        name,
        detail,
        evidence: Buffer.from(encodeEquivocation(evidence)).toString('hex'),
      });
    if (!isFirst) return [];
    return [{ type: 'log', level: 'error', event: 'log-equivocation', fields: { host: name, detail } }];
  }

  private merged({ requester, told }: Reading, others: readonly LogWalk[], now: Millis): CaLog {
    const { self, log } = this.options;
    const own = log.before(0, maxLogEntries);
    const head = log.problem === null ? this.keeper.head(now) : null;
    // Where the disk is an old copy of itself, others may still have what it told before.
    const isShort = head !== null && head.sequence < (told.get(self) ?? 0);
    const ownProblem = log.problem?.message ?? (isShort ? 'shorter-than-told' : null);
    const logs = [
      { trustee: self, head, entries: own, problem: ownProblem },
      ...others.map(({ trustee, head, entries, problem }) => ({ trustee, head, entries, problem })),
    ];
    const sources = logs
      // Most hosts never were trustees, and have nothing to show.
      .filter(
        ({ trustee, entries, problem }) =>
          trustee !== self || problem !== null || entries.length > 0 || this.isTrustee(self),
      )
      .map(
        ({ trustee, head, entries, problem }): CaLogSource => ({
          id: trustee,
          name: hostNameOf(trustee, this.options),
          sequence: head?.sequence ?? null,
          entries: entries.length,
          from: entries[0]?.sequence ?? null,
          problem,
        }),
      );
    return { entries: this.entriesOf(logs, requester), sources, alarms: this.alarms() };
  }

  private isTrustee(host: HostId): boolean {
    return this.options.trustees().includes(host);
  }

  /** By what was signed: each trustee has its own entry for one signature. */
  private entriesOf(
    logs: readonly { readonly trustee: HostId; readonly entries: readonly IssuanceEntry[] }[],
    requester: HostId | null,
  ): CaLogEntry[] {
    const merged = new Map<string, CaLogEntry>();
    for (const { trustee, entries } of logs) {
      const witness = hostNameOf(trustee, this.options);
      // Hosts that were denied may have borne one name.
      const seen = new Set<string>();
      for (const entry of entries) {
        if (requester !== null && entry.requester !== requester) continue;
        // Another requester of the same bytes is another story.
        const key = `${entry.digest}/${entry.requester}`;
        const before = merged.get(key);
        const witnesses = before?.witnesses ?? [];
        const isTwice = seen.has(key);
        seen.add(key);
        const { digest, subject, serial, notBefore, notAfter } = entry;
        merged.set(key, {
          digest,
          subject,
          serial,
          notBefore,
          notAfter,
          at: Math.min(before?.at ?? entry.at, entry.at),
          requester: entry.requester,
          requesterName: hostNameOf(entry.requester, this.options),
          witnesses: isTwice ? witnesses : [...witnesses, witness],
        });
      }
    }
    return [...merged.values()].sort((a, b) => b.at - a.at || (a.digest < b.digest ? -1 : 1));
  }
}
