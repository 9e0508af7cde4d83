/**
 * Reads the issuance logs of several trustees at once, each to its end, within a time that whoever waits for it
 * can bear. Trustees that do not answer are named, not waited for.
 */
import {
  earliest,
  Fault,
  type HostId,
  type Machine,
  type Millis,
  unreachable,
  type Verify,
} from '../../core.ts';
import { decodeLogAnswer, encodeLogRequest, type LogAnswer, maxLogRequestId } from './log-message.ts';
import { LogWalk } from './log-walk.ts';

export type LogReaderInput =
  | { readonly type: 'wake' }
  /** Read these logs; answered by `read` with the same id. */
  | { readonly type: 'read'; readonly readId: number; readonly trustees: readonly HostId[] }
  /** A `LogAnswer`; `from` is the key that the channel proved. */
  | { readonly type: 'message'; readonly from: HostId; readonly bytes: Uint8Array }
  | { readonly type: 'unreachable'; readonly host: HostId };

export type LogReaderEffect =
  /** A `LogRequest`. May be lost. */
  | { readonly type: 'send'; readonly to: HostId; readonly bytes: Uint8Array }
  /** In the order of the trustees asked. */
  | { readonly type: 'read'; readonly readId: number; readonly logs: readonly LogWalk[] };

export interface LogReaderOptions {
  readonly mesh: string;
  readonly verify: Verify;
  /** Where ids on the wire begin: drawn anew at each start, so that no answer to an earlier process fits. */
  readonly firstId: number;
}

/** Reads at once: each holds a few megabytes at worst. */
export const maxReads = 4;
/** Logs of one read: trustees present and past. Those beyond it are said to be `not-asked`. */
export const maxLogsRead = 32;
const answerWithinMs = 3000;
const readWithinMs = 15_000;

interface Question {
  readonly readId: number;
  readonly walk: LogWalk;
  readonly deadline: Millis;
}

interface Read {
  readonly walks: readonly LogWalk[];
  readonly deadline: Millis;
}

export class LogReader implements Machine<LogReaderInput, LogReaderEffect> {
  private readonly options: LogReaderOptions;
  private readonly reads = new Map<number, Read>();
  /** By their id on the wire; one a log at a time. */
  private readonly questions = new Map<number, Question>();
  private lastId: number;
  private effects: LogReaderEffect[] = [];

  constructor(options: LogReaderOptions) {
    this.options = options;
    this.lastId = options.firstId % maxLogRequestId;
  }

  nextWake(): Millis | null {
    let wake: Millis | null = null;
    for (const { deadline } of this.questions.values()) wake = earliest(wake, deadline);
    return wake;
  }

  /** Throws `Fault('overloaded')`, for `read` only, while `maxReads` are under way. */
  step(input: LogReaderInput, now: Millis): readonly LogReaderEffect[] {
    this.effects = [];
    switch (input.type) {
      case 'wake':
        this.failWhere(({ deadline }) => now >= deadline, 'no-answer');
        break;
      case 'read':
        this.begin(input.readId, input.trustees, now);
        break;
      case 'message':
        this.take(input.from, input.bytes, now);
        break;
      case 'unreachable':
        this.failWhere(({ walk }) => walk.trustee === input.host, 'unreachable');
        break;
      default:
        unreachable(input);
    }
    this.finish();
    return this.effects;
  }

  private begin(readId: number, trustees: readonly HostId[], now: Millis): void {
    if (this.reads.size >= maxReads)
      throw new Fault('overloaded', `${maxReads} readings of the logs are under way; try again`);
    const walks = trustees.map((trustee) => new LogWalk(trustee));
    this.reads.set(readId, { walks, deadline: now + readWithinMs });
    for (const walk of walks.slice(0, maxLogsRead)) this.ask(readId, walk, now);
    for (const walk of walks.slice(maxLogsRead)) walk.fail('not-asked');
  }

  private ask(readId: number, walk: LogWalk, now: Millis): void {
    this.lastId = (this.lastId % maxLogRequestId) + 1;
    const deadline = Math.min(now + answerWithinMs, this.reads.get(readId)!.deadline);
    this.questions.set(this.lastId, { readId, walk, deadline });
    const bytes = encodeLogRequest({ requestId: this.lastId, before: walk.before });
    this.effects.push({ type: 'send', to: walk.trustee, bytes });
  }

  /** What is late, repeated, malformed or from anybody else finds nobody waiting and changes nothing. */
  private take(from: HostId, bytes: Uint8Array, now: Millis): void {
    let answer: LogAnswer;
    try {
      answer = decodeLogAnswer(bytes);
    } catch (error) {
      if (error instanceof Fault) return;
      throw error;
    }
    const question = this.questions.get(answer.requestId);
    if (question === undefined || question.walk.trustee !== from) return;
    this.questions.delete(answer.requestId);
    const { readId, walk } = question;
    walk.take(answer, this.options.mesh, this.options.verify);
    if (walk.isOver) return;
    if (now < this.reads.get(readId)!.deadline) this.ask(readId, walk, now);
    else walk.fail('no-answer');
  }

  private failWhere(matches: (question: Question) => boolean, problem: string): void {
    for (const [id, question] of this.questions) {
      if (!matches(question)) continue;
      this.questions.delete(id);
      question.walk.fail(problem);
    }
  }

  private finish(): void {
    for (const [readId, { walks }] of this.reads) {
      if (walks.some(({ isOver }) => !isOver)) continue;
      this.reads.delete(readId);
      this.effects.push({ type: 'read', readId, logs: walks });
    }
  }
}
