/**
 * Sees to it that the root which an epoch made becomes one that certificates come from: has its certificates
 * signed, its turns of life when nobody would be harmed, and publishes both. Every trustee does so, those with
 * later seats later; that two did the same harms nobody, since each result proves itself.
 */
import { type Machine, type Millis, type Random, unreachable } from '../../core.ts';
import {
  type RootCertificates,
  type RootTurn,
  rootKey,
  type Turn,
  turnKey,
  turnStatement,
} from '../root-record.ts';
import { wholeSeconds } from '../x509/root.ts';
import { assembleCertificate, pemOf } from '../x509/x509.ts';
import {
  encodeRootRequest,
  encodeTurnRequest,
  objectionToTurn,
  type RootContext,
  type RootRequest,
  rootTbs,
  type TurnRequest,
} from './root-request.ts';

export type CustodianInput =
  | { readonly type: 'wake' }
  /** Answers `sign`. */
  | { readonly type: 'signed'; readonly requestId: number; readonly signature: Uint8Array }
  | { readonly type: 'failed'; readonly requestId: number; readonly reason: string };

export type CustodianEffect =
  /** Have `message` signed with the key of `generation`. */
  | {
      readonly type: 'sign';
      readonly requestId: number;
      readonly generation: number;
      readonly request: { readonly type: 'root' | 'turn'; readonly bytes: Uint8Array };
      readonly message: Uint8Array;
    }
  /** Write a `trust-root` record. */
  | { readonly type: 'publish'; readonly key: string; readonly value: RootCertificates | RootTurn };

export interface CustodianOptions {
  readonly random: Random;
  readonly context: CustodianContext;
}

export interface CustodianContext extends RootContext {
  /** Of the epoch in force. */
  generation(): number;
  /** This host's place among its trustees, from 0 on; null where it is none. */
  seat(): number | null;
  /** Whether enough of those are here who sign with the key of a generation. */
  isQuorumHere(generation: number): boolean;
  /** Unique among this host's requests for signatures. */
  nextRequestId(): number;
}

type Task =
  | { readonly type: 'introduce'; readonly generation: number }
  | { readonly type: 'turn'; readonly generation: number; readonly turn: Turn };

/** One signature of what is under way. */
interface Part {
  readonly what: 'self' | 'cross' | 'turn';
  readonly requestId: number;
  readonly message: Uint8Array;
  signature: Uint8Array | null;
}

interface Underway {
  readonly task: Task;
  /** Null for a task that introduces a root. */
  readonly turn: TurnRequest | null;
  readonly parts: readonly Part[];
}

const reviewMs = 2000;
/** So much later each further seat acts. */
const staggerMs = 4000;
const retryMs = 5000;
/** After so many failures a root goes without the certificate of the one before; after one if its holders are away. */
const crossAttempts = 6;

export class Custodian implements Machine<CustodianInput, CustodianEffect> {
  private readonly options: CustodianOptions;
  private reviewAt: Millis = 0;
  /** What is to be done, and since when that was seen. */
  private wanted: { readonly key: string; readonly since: Millis } | null = null;
  private underway: Underway | null = null;
  private crossFailures = 0;
  /** Why the next turn of a root waits, or the last attempt failed; null when nothing is to be done. */
  problem: string | null = null;

  constructor(options: CustodianOptions) {
    this.options = options;
  }

  nextWake(): Millis | null {
    return this.reviewAt;
  }

  step(input: CustodianInput, now: Millis): readonly CustodianEffect[] {
    switch (input.type) {
      case 'wake':
        return now >= this.reviewAt ? this.review(now) : [];
      case 'signed':
        return this.signed(input.requestId, input.signature);
      case 'failed':
        return this.failed(input.requestId, input.reason, now);
      default:
        return unreachable(input);
    }
  }

  private review(now: Millis): CustodianEffect[] {
    this.reviewAt = now + reviewMs;
    const seat = this.options.context.seat();
    const task = seat === null ? null : this.dueTask(now);
    if (seat === null || task === null) {
      this.wanted = null;
      this.underway = null;
      return [];
    }
    const key = keyOf(task);
    if (this.wanted?.key !== key) {
      this.wanted = { key, since: now };
      this.underway = null;
      this.crossFailures = 0;
    }
    const isMyTurn = now >= this.wanted.since + seat * staggerMs;
    return isMyTurn && this.underway === null ? this.begin(task, now) : [];
  }

  /** The next thing that the roots need. */
  private dueTask(now: Millis): Task | null {
    const { context } = this.options;
    const [latest, active] = [context.generation(), context.activeGeneration()];
    this.problem = null;
    // One that a later one has overtaken before it became active never signs anything, and needs no certificates.
    if (latest > active && context.root(latest) === undefined)
      return { type: 'introduce', generation: latest };
    for (let generation = 0; generation <= latest; generation++) {
      if (generation === active) continue;
      const isOver = generation < active && context.root(generation)?.state !== 'old';
      const turn = generation < active ? 'retired' : generation === latest ? 'active' : null;
      if (isOver || turn === null) continue;
      this.problem = objectionToTurn(generation, turn, context, now);
      if (this.problem === null) return { type: 'turn', generation, turn };
    }
    return null;
  }

  private begin(task: Task, now: Millis): CustodianEffect[] {
    return task.type === 'turn' ? this.beginTurn(task, now) : this.beginIntroduction(task, now);
  }

  private beginTurn(task: Task & { type: 'turn' }, now: Millis): CustodianEffect[] {
    const { context } = this.options;
    const { generation, turn } = task;
    const by = turn === 'active' ? generation : context.activeGeneration();
    const request: TurnRequest = { generation, turn, at: wholeSeconds(now), by };
    const part = this.part('turn', turnStatement(context.mesh, request));
    this.underway = { task, turn: request, parts: [part] };
    return [signing(part, by, { type: 'turn', bytes: encodeTurnRequest(request) })];
  }

  private beginIntroduction(task: Task, now: Millis): CustodianEffect[] {
    const { context } = this.options;
    const { rootLifetimeMs: lifetimeMs } = context;
    const subject = task.generation;
    const parts: Part[] = [];
    const effects: CustodianEffect[] = [];
    const attempts = context.isQuorumHere(subject - 1) ? crossAttempts : 1;
    const wanted = this.crossFailures < attempts ? (['self', 'cross'] as const) : (['self'] as const);
    for (const what of wanted) {
      const issuer = what === 'self' ? subject : subject - 1;
      const request: RootRequest = { issuer, subject, issuedAt: wholeSeconds(now), lifetimeMs };
      const message = rootTbs(request, context);
      if (message === undefined) return [];
      const part = this.part(what, message);
      parts.push(part);
      effects.push(signing(part, issuer, { type: 'root', bytes: encodeRootRequest(request) }));
    }
    this.underway = { task, turn: null, parts };
    return effects;
  }

  private part(what: Part['what'], message: Uint8Array): Part {
    return { what, requestId: this.options.context.nextRequestId(), message, signature: null };
  }

  private partOf(requestId: number): Part | undefined {
    return this.underway?.parts.find((part) => part.requestId === requestId);
  }

  private signed(requestId: number, signature: Uint8Array): CustodianEffect[] {
    const part = this.partOf(requestId);
    if (part === undefined) return [];
    part.signature = signature;
    const { underway } = this;
    if (underway === null || underway.parts.some((one) => one.signature === null)) return [];
    this.underway = null;
    return [publication(underway)];
  }

  private failed(requestId: number, reason: string, now: Millis): CustodianEffect[] {
    const part = this.partOf(requestId);
    if (part === undefined) return [];
    if (part.what === 'cross') this.crossFailures++;
    this.underway = null;
    this.problem = reason;
    this.reviewAt = now + retryMs * (0.5 + this.options.random.next());
    return [];
  }
}

function signing(
  { requestId, message }: Part,
  generation: number,
  request: { readonly type: 'root' | 'turn'; readonly bytes: Uint8Array },
): CustodianEffect {
  return { type: 'sign', requestId, generation, request, message };
}

function publication({ task, turn, parts }: Underway): CustodianEffect {
  const { generation } = task;
  if (turn !== null) {
    const signature = Buffer.from(parts[0]!.signature!).toString('hex');
    return { type: 'publish', key: turnKey(generation, turn.turn), value: { ...turn, signature } };
  }
  const pems = parts.map(({ message, signature }) => pemOf(assembleCertificate(message, signature!)));
  const value = { generation, certPem: pems[0]!, crossPem: pems[1] ?? null };
  return { type: 'publish', key: rootKey(generation), value };
}

function keyOf(task: Task): string {
  return task.type === 'turn' ? turnKey(task.generation, task.turn) : rootKey(task.generation);
}
