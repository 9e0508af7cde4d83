/** The connections to one application that speaks HTTP/2: as many as it takes for the requests there are. */
import type { Millis } from '../../core.ts';
import type { Timed } from '../deadlines.ts';
import type { EngineContext } from '../engine.ts';
import type { Transport } from '../transport.ts';
import type { CarriedProtocol, Dialer } from '../upstream/upstreams.ts';
import { Http2ClientSession } from './client-session.ts';
import { ClientStream } from './client-stream.ts';

export class ClientPool implements Dialer, Timed {
  deadlineMs: Millis = Number.NEGATIVE_INFINITY;
  private readonly connect: () => Transport;
  private readonly context: EngineContext;
  private readonly onProblem: (problem: string) => void;
  private lastProblem = '';
  private readonly sessions = new Set<Http2ClientSession>();
  private readonly failing: ClientStream[] = [];

  /**
   * `connect` opens a connection in the clear; it may be written to at once. `onProblem` is told what the
   * application does against the protocol: once, until it does something else.
   */
  constructor(connect: () => Transport, context: EngineContext, onProblem: (problem: string) => void) {
    this.connect = connect;
    this.context = context;
    this.onProblem = onProblem;
  }

  get sessionCount(): number {
    return this.sessions.size;
  }

  dial(_protocol: CarriedProtocol): Transport {
    return new ClientStream(this);
  }

  open(protocol: CarriedProtocol, done: (transport: Transport | null) => void): void {
    done(this.dial(protocol));
  }

  /** A session that takes another request; a new one where no other does. */
  session(): Http2ClientSession {
    for (const session of this.sessions) if (session.canOpen) return session;
    const session = new Http2ClientSession(this.connect(), this.context, (over, problem) => {
      this.sessions.delete(over);
      this.noteProblem(problem);
    });
    this.sessions.add(session);
    return session;
  }

  private noteProblem(problem: string | null): void {
    if (problem === null || problem === this.lastProblem) return;
    this.lastProblem = problem;
    this.onProblem(problem);
  }

  /** Every session there is takes nothing new, and ends when it has nothing under way. */
  release(): void {
    for (const session of [...this.sessions]) session.retire();
  }

  /** Tells a connection of the engine that it is broken, but not from within its own call. */
  failLater(stream: ClientStream): void {
    this.failing.push(stream);
    this.context.promptDeadlines.add(this);
  }

  onDeadline(): void {
    this.context.promptDeadlines.remove(this);
    for (const stream of this.failing.splice(0)) stream.fail('reset');
  }
}
