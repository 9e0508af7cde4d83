/** The runs of the cryptography that this host takes part in: their messages, their ends, how many at once. */
import { earliest, type HostId, type Millis } from '../../core.ts';
import type { CryptoSession } from './crypto-port.ts';
import { type EpochMessage, encodeMessage } from './message.ts';
import type { EpochEffect } from './port.ts';
import { type Letter, Relay } from './relay.ts';

interface Run {
  readonly session: CryptoSession;
  readonly relay: Relay;
  /** Epoch to be made while it ran. */
  readonly epoch: number;
  deadline: Millis;
  resendAt: Millis;
}

type RelayMessage = Extract<EpochMessage, { type: 'relay' }>;

/** A message of a session that has not begun here. */
interface EarlyMessage {
  readonly from: HostId;
  readonly message: RelayMessage;
}

/** One dealing, the one before it for late receivers, and a signature for each trustee that coordinates one. */
const maxRuns = 16;
/** A dealing and a share from each other host of the largest ceremony, and some; at most 16 KB each. */
const maxEarly = 48;
/** Of one host, so that nobody fills it alone. */
const maxEarlyFromOne = 4;

export class Sessions {
  private readonly resendMs: Millis;
  private readonly runs = new Map<string, Run>();
  /**
   * In the order they came. Hosts begin a session when their disks let them, so the first to begin is heard
   * before the others have: what it says is kept for them here instead of being sent again. What finds no room
   * is.
   */
  private early: EarlyMessage[] = [];

  constructor(resendMs: Millis) {
    this.resendMs = resendMs;
  }

  get(id: string): CryptoSession | undefined {
    return this.runs.get(id)?.session;
  }

  has(id: string): boolean {
    return this.runs.has(id);
  }

  begin(
    session: CryptoSession,
    participants: Iterable<HostId>,
    epoch: number,
    deadline: Millis,
    now: Millis,
  ): EpochEffect[] {
    const effects: EpochEffect[] = [];
    for (const id of this.runs.keys()) {
      if (this.runs.size < maxRuns) break;
      effects.push(...this.end(id));
    }
    const relay = new Relay(participants);
    this.runs.set(session.id, { session, relay, epoch, deadline, resendAt: now + this.resendMs });
    effects.push({ type: 'crypto', order: { type: 'begin', session } });
    const came = this.early.filter(({ message }) => message.session === session.id);
    this.early = this.early.filter(({ message }) => message.epoch >= epoch && message.session !== session.id);
    return [...effects, ...came.flatMap(({ from, message }) => this.onRelay(from, message))];
  }

  private keepEarly(from: HostId, message: RelayMessage): void {
    const { session, sequence } = message;
    const fromHere = this.early.filter((one) => one.from === from);
    const isKnown = fromHere.some(
      (one) => one.message.session === session && one.message.sequence === sequence,
    );
    if (isKnown) return;
    // The oldest goes: a session that never begins here must not stand in the way of those that do.
    if (fromHere.length >= maxEarlyFromOne) this.early.splice(this.early.indexOf(fromHere[0]!), 1);
    this.early.push({ from, message });
    if (this.early.length > maxEarly) this.early.shift();
  }

  end(id: string): EpochEffect[] {
    if (!this.runs.delete(id)) return [];
    return [{ type: 'crypto', order: { type: 'end', session: id } }];
  }

  endWhere(isOver: (session: CryptoSession) => boolean): EpochEffect[] {
    const over = [...this.runs.values()].filter((run) => isOver(run.session));
    return over.flatMap((run) => this.end(run.session.id));
  }

  /** Sends what the cryptography has to say. Too much of it ends the session: it would never be complete. */
  send(id: string, to: HostId, bytes: Uint8Array): EpochEffect[] {
    const run = this.runs.get(id);
    if (run === undefined) return [];
    const letter = run.relay.post(to, bytes);
    return letter === null ? this.end(id) : [this.mail(run, letter)];
  }

  private mail(run: Run, { to, sequence, bytes }: Letter): EpochEffect {
    const { id } = run.session;
    const message: EpochMessage = { type: 'relay', epoch: run.epoch, session: id, sequence, bytes };
    return { type: 'send', to, bytes: encodeMessage(message) };
  }

  /**
   * A message of a session: confirmed, and delivered once it is the next one. Of a session that does not run
   * here: kept for when it begins.
   */
  onRelay(from: HostId, message: RelayMessage): EpochEffect[] {
    const { session, sequence, bytes } = message;
    const run = this.runs.get(session);
    if (run === undefined) {
      this.keepEarly(from, message);
      return [];
    }
    const receipt = run.relay.receive(from, sequence, bytes);
    if (receipt === null) return [];
    const reply: EpochMessage = { type: 'relayed', epoch: run.epoch, session, count: receipt.count };
    const news = receipt.news.map(
      (one): EpochEffect => ({ type: 'crypto', order: { type: 'deliver', session, from, bytes: one } }),
    );
    return [{ type: 'send', to: from, bytes: encodeMessage(reply) }, ...news];
  }

  onRelayed(from: HostId, { session, count }: Extract<EpochMessage, { type: 'relayed' }>): void {
    this.runs.get(session)?.relay.confirm(from, count);
  }

  wake(now: Millis): EpochEffect[] {
    const effects: EpochEffect[] = [];
    for (const run of this.runs.values()) {
      if (now >= run.deadline) {
        effects.push(...this.end(run.session.id));
      } else if (now >= run.resendAt) {
        run.resendAt = now + this.resendMs;
        for (const letter of run.relay.unconfirmed()) effects.push(this.mail(run, letter));
      }
    }
    return effects;
  }

  nextWake(): Millis | null {
    let next: Millis | null = null;
    for (const run of this.runs.values()) {
      const isQuiet = run.relay.unconfirmed().length === 0;
      next = earliest(next, isQuiet ? run.deadline : Math.min(run.deadline, run.resendAt));
    }
    return next;
  }
}
