/**
 * What was signed with the mesh's roots, for everybody to see: shows this host's issuance log to others, reads
 * theirs, and tells the mesh the head of its own now and then, so that nobody can tell two stories. Pure.
 */
import {
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
import type { LogWalk } from '../../trust/log/log-walk.ts';
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
import { evidenceIn, forkAccusation, twinCountsMs } from './accusations.ts';
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
}

export class Ledger {
  private readonly options: LedgerOptions;
  private readonly keeper: LogKeeper;
  private readonly reader: LogReader;
  private readonly book: HeadBook;
  private readonly found = new Map<HostId, CaLogAlarm>();
  /** By who says so and who it is about. */
  private twins = new Map<string, CaLogAlarm>();
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
    return earliest(this.reader.nextWake(), isNews ? this.tellAt : null);
  }

  wake(now: Millis): AgentEffect[] {
    if (this.isNews() && now >= this.tellAt) this.tell(now);
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
    const { facts, trusteesEver, trust, verify, self } = this.options;
    const all = facts.allAccusations();
    if (all.length === 0 && this.twins.size === 0) return [];
    const ever = trusteesEver();
    const effects: AgentEffect[] = [];
    this.twins = new Map();
    for (const accusation of all) {
      const { accused, charge, by, value } = accusation;
      if (!ever.has(accused)) continue;
      if (charge === 'twin') {
        if (now >= value.at + twinCountsMs || this.twins.size >= maxAlarms) continue;
        const name = hostNameOf(accused, this.options);
        const detail = `runs twice, as ${hostNameOf(by, this.options)} saw: ${value.detail}`;
        this.twins.set(`${by}/${accused}`, { id: accused, name, detail, evidence: '' });
      } else if (by !== self && !this.found.has(accused)) {
        const evidence = evidenceIn(accusation, trust.genesis.hash, verify);
        if (evidence !== null) effects.push(...this.convicted(accused, evidence));
      }
    }
    return effects;
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
    const { self, trustees, catalog } = this.options;
    const past = this.book.trustees().filter((id) => (catalog.host(id)?.state ?? 'left') !== 'left');
    const others = new Set([...trustees(), ...past]);
    others.delete(self);
    this.readings.set(readId, { request, requester });
    try {
      return [...alarms, ...this.read({ type: 'read', readId, trustees: [...others] }, now)];
    } catch (error) {
      this.readings.delete(readId);
      throw error;
    }
  }

  private hostOf(name: string): HostId {
    const { catalog, trust } = this.options;
    const id = catalog.hostNamed(name)?.id ?? trust.nameHolder(name, '') ?? name;
    if (trust.admissionOf(id) === undefined && catalog.host(id) === undefined)
      throw new Fault('unknown-host', `there is no host ${name}`, { field: 'host' });
    return id;
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
      const alarms = logs.flatMap((walk) => this.audited(walk, now));
      return [...alarms, { type: 'reply', request, value: this.merged(reading, logs, now) }];
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return [{ type: 'fail', request, fault: error }];
    }
  }

  /** Holds what a trustee showed against what it, or others of it, showed before. */
  private audited({ head, entries, trustee }: LogWalk, now: Millis): AgentEffect[] {
    if (head === null) return [];
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
    if (record !== null && facts.accusationOf(self, 'fork', accused) === undefined) write([record], now);
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

  private merged({ requester }: Reading, others: readonly LogWalk[], now: Millis): CaLog {
    const { self, log } = this.options;
    const own = log.before(0, maxLogEntries);
    const problem = log.problem?.message ?? null;
    const head = problem === null ? this.keeper.head(now) : null;
    const logs = [
      { trustee: self, head, entries: own, problem },
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
      for (const entry of entries) {
        if (requester !== null && entry.requester !== requester) continue;
        // Another requester of the same bytes is another story.
        const key = `${entry.digest}/${entry.requester}`;
        const before = merged.get(key);
        const witnesses = before?.witnesses ?? [];
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
          witnesses: witnesses.includes(witness) ? witnesses : [...witnesses, witness],
        });
      }
    }
    return [...merged.values()].sort((a, b) => b.at - a.at || (a.digest < b.digest ? -1 : 1));
  }
}
