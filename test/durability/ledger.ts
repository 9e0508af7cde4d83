/**
 * What the processes that used one data directory were promised, and whether a store that comes back keeps
 * it: nothing acknowledged or published is lost, no version or epoch is used twice, no clock goes back.
 */
import type { HostId } from '../../src/core.ts';
import type { Record } from '../../src/gossip/replica/record.ts';
import {
  type Content,
  describe,
  type Line,
  nameOf,
  type RecordName,
  type Subject,
  subjectOf,
} from './lines.ts';

/** What a subject may be found to be: what it was last known to be, and all that was asked for since. */
interface History {
  contents: Content[];
  /** Index of the latest content that was promised; what came before it may not come back. */
  promised: number;
}

export interface Totals {
  attempts: number;
  acknowledged: number;
  signed: number;
  published: number;
  /** Contents that were found though their acknowledgement had not been given. */
  unacknowledgedFound: number;
  starts: number;
  /** Torn pieces that nobody had been promised, which the store told of. */
  damageTold: number;
}

export class Ledger {
  /** One line for every promise that was broken. */
  readonly violations: string[] = [];
  readonly totals: Totals = {
    attempts: 0,
    acknowledged: 0,
    signed: 0,
    published: 0,
    unacknowledgedFound: 0,
    starts: 0,
    damageTold: 0,
  };
  private readonly histories = new Map<Subject, History>();
  /** By author, scope and version: the hash of the one record that may carry it. */
  private readonly versions = new Map<string, string>();
  /** Records that were shown to the mesh since the store was last looked at, by slot. */
  private readonly published = new Map<string, RecordName>();
  private epoch = 0;
  private incarnation = 0;
  /** The latest timestamp that anybody could have seen. */
  private clockMark = 0;
  /** The same, as it was when the present process started. */
  private clockMarkAtStart = 0;
  private self: HostId | null = null;

  /** Takes note of one line of a writer. */
  note(line: Line): void {
    switch (line.type) {
      case 'open':
        this.totals.starts += 1;
        this.noteStart(line);
        break;
      case 'attempt':
        this.totals.attempts += 1;
        this.history(line.subject).contents.push(line.content);
        break;
      case 'acknowledged':
        this.totals.acknowledged += 1;
        this.promise(line.subject, line.content);
        break;
      case 'signed':
        this.totals.signed += 1;
        this.noteVersion(line.record, 'signed');
        if (line.record.hlc <= this.clockMarkAtStart)
          this.violate(`the clock went back: ${describe(line.record)} is not later than all seen before it`);
        break;
      case 'published':
        this.totals.published += 1;
        this.noteVersion(line.record, 'published');
        this.clockMark = Math.max(this.clockMark, line.record.hlc);
        this.published.set(`${line.record.author} ${line.record.version}`, line.record);
        break;
      case 'fault':
        this.violate(`refused: ${line.code}: ${line.message}`);
    }
  }

  /** The store was opened, by a writer or to look into it. */
  noteEpoch(epoch: number): void {
    if (epoch <= this.epoch) this.violate(`epoch ${epoch} came after epoch ${this.epoch}`);
    this.epoch = Math.max(this.epoch, epoch);
    this.clockMarkAtStart = this.clockMark;
  }

  /**
   * Compares what the store holds now with what was promised. Afterwards what it holds is the promise: an
   * open store has put on disk all that it shows.
   */
  compare(records: readonly Record[]): void {
    const found = new Map<Subject, Content>();
    const latest = new Map<HostId, number>();
    for (const record of records) {
      this.noteVersion(nameOf(record), 'found');
      this.clockMark = Math.max(this.clockMark, record.hlc);
      if (record.scope === 'host')
        latest.set(record.author, Math.max(latest.get(record.author) ?? 0, record.version));
      const said = subjectOf(record);
      if (said !== null) found.set(said.subject, said.content);
    }
    for (const [subject, history] of this.histories)
      this.compareOne(subject, history, found.get(subject) ?? null);
    // What the agent writes of its own accord, or had no time to tell of, is kept from now on.
    for (const [subject, content] of found)
      if (!this.histories.has(subject)) this.histories.set(subject, { contents: [content], promised: 0 });
    for (const record of this.published.values())
      if (record.scope === 'host' && (latest.get(record.author) ?? 0) < record.version)
        this.violate(`published and lost: ${describe(record)}`);
    this.published.clear();
    this.clockMarkAtStart = this.clockMark;
  }

  private compareOne(subject: Subject, history: History, found: Content): void {
    const index = history.contents.lastIndexOf(found);
    if (index < history.promised)
      this.violate(
        `${subject}: ${JSON.stringify(history.contents[history.promised])} was acknowledged, ${JSON.stringify(found)} found`,
      );
    else if (index > history.promised) this.totals.unacknowledgedFound += 1;
    history.contents = [found];
    history.promised = 0;
  }

  private noteStart({ self, epoch, incarnation, damaged }: Extract<Line, { type: 'open' }>): void {
    this.noteEpoch(epoch);
    if (this.self !== null && this.self !== self) this.violate(`the host's key changed to ${self}`);
    this.self = self;
    if (incarnation <= this.incarnation)
      this.violate(`incarnation ${incarnation} came after incarnation ${this.incarnation}`);
    this.incarnation = Math.max(this.incarnation, incarnation);
    if (damaged > 0) this.violate(`${damaged} damaged entries or blocks were reported`);
  }

  private promise(subject: Subject, content: Content): void {
    const history = this.history(subject);
    const index = history.contents.lastIndexOf(content);
    if (index < 0)
      this.violate(`${subject}: ${JSON.stringify(content)} was acknowledged and never asked for`);
    history.promised = Math.max(history.promised, index);
  }

  private noteVersion(record: RecordName, how: string): void {
    // A policy record's version is its timestamp: two operators may well share one.
    if (record.scope === 'policy') return;
    const key = `${record.author} ${record.version}`;
    const known = this.versions.get(key);
    if (known !== undefined && known !== record.hash)
      this.violate(`a version was used twice: ${describe(record)} was ${how} with another content`);
    this.versions.set(key, record.hash);
  }

  private history(subject: Subject): History {
    const known = this.histories.get(subject);
    if (known !== undefined) return known;
    const history: History = { contents: [null], promised: 0 };
    this.histories.set(subject, history);
    return history;
  }

  /** A promise that was broken. */
  violate(text: string): void {
    this.violations.push(text);
  }
}
