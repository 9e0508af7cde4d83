/**
 * What a trustee asks the others to sign for the roots themselves: a root's certificate, or a turn in its life.
 * Everybody rebuilds what is signed from the few numbers of the request and from its own chain of epochs.
 */
import { ByteReader, ByteWriter, Fault, type HostId, type Millis } from '../../core.ts';
import type { BundledRoot } from '../bundle.ts';
import { latestTime } from '../fields.ts';
import { maxGeneration, type RootTurn, type Turn, turnStatement } from '../root-record.ts';
import { clockSkewMs } from '../statement.ts';
import { backdateMs, wholeSeconds } from '../x509/root.ts';
import { buildRootTbs, type RootName } from '../x509/x509.ts';

/** A certificate for the key of `subject` by that of `issuer`: itself, or the generation before. */
export interface RootRequest {
  readonly issuer: number;
  readonly subject: number;
  /** The requester's clock, whole seconds. */
  readonly issuedAt: Millis;
  readonly lifetimeMs: number;
}

export type TurnRequest = Omit<RootTurn, 'signature'>;

/** What a trustee knows of the roots and of who believes them. */
export interface RootContext {
  readonly mesh: string;
  nameOf(generation: number): RootName | undefined;
  root(generation: number): BundledRoot | undefined;
  activeGeneration(): number;
  /** Whether a host may ask for such signatures: a trustee of the epoch in force. */
  isTrustee(host: HostId): boolean;
  /**
   * Names of hosts that would be harmed: `active`: they are here, or were a moment ago, and are not known to
   * believe the root; `retired`: they may present what it signed, wherever they are.
   */
  waitingFor(generation: number, turn: Turn, now: Millis): readonly string[];
  /** How long a root is made to last here; other hosts may be set up for half or twice of it. */
  readonly rootLifetimeMs: number;
  /** The longest that a certificate for a service may last. */
  readonly longestLeafMs: number;
}

/** The least and the most that a root may last. */
export const minRootLifetimeMs: number = 60_000;
export const maxRootLifetimeMs: number = 3650 * 24 * 3_600_000;

export function encodeRootRequest(request: RootRequest): Uint8Array {
  const { issuer, subject, issuedAt, lifetimeMs } = request;
  return new ByteWriter().varint(issuer).varint(subject).varint(issuedAt).varint(lifetimeMs).done();
}

/** Throws `Fault('malformed')`. */
export function decodeRootRequest(bytes: Uint8Array): RootRequest {
  const reader = new ByteReader(bytes);
  const request = {
    issuer: reader.varint(maxGeneration),
    subject: reader.varint(maxGeneration),
    issuedAt: reader.varint(latestTime),
    lifetimeMs: reader.varint(latestTime),
  };
  reader.end();
  return request;
}

export function encodeTurnRequest({ generation, turn, at, by }: TurnRequest): Uint8Array {
  return new ByteWriter()
    .varint(generation)
    .u8(turn === 'active' ? 0 : 1)
    .varint(at)
    .varint(by)
    .done();
}

/** Throws `Fault('malformed')`. */
export function decodeTurnRequest(bytes: Uint8Array): TurnRequest {
  const reader = new ByteReader(bytes);
  const generation = reader.varint(maxGeneration);
  const turn = (['active', 'retired'] as const)[reader.u8()];
  if (turn === undefined) throw new Fault('malformed', 'no turn known here');
  const request = { generation, turn, at: reader.varint(latestTime), by: reader.varint(maxGeneration) };
  reader.end();
  return request;
}

/** The bytes to sign for a root's certificate; undefined while the chain of epochs here lacks one of the keys. */
export function rootTbs(request: RootRequest, context: Pick<RootContext, 'nameOf'>): Buffer | undefined {
  const [issuer, subject] = [context.nameOf(request.issuer), context.nameOf(request.subject)];
  if (issuer === undefined || subject === undefined) return undefined;
  const notBefore = wholeSeconds(request.issuedAt - backdateMs);
  const notAfter = wholeSeconds(request.issuedAt + request.lifetimeMs);
  return buildRootTbs({ issuer, subject, notBefore, notAfter });
}

/** What is signed, and by the key of which generation. */
export interface ToSign {
  readonly message: Uint8Array;
  readonly generation: number;
}

/**
 * Throws a `Fault` to refuse: `not-a-trustee`, `clock-skew`, `root-unknown`, `bad-ttl`, `root-not-linked`,
 * `root-known`. Certifies what the epochs have decided, and once: a trustee that could have a root in use certified
 * again, for a minute, could end it everywhere.
 */
export function judgeRootRequest(
  request: RootRequest,
  from: HostId,
  context: RootContext,
  now: Millis,
): ToSign {
  refuseUnlessTimely(request.issuedAt, from, context, now);
  const { issuer, subject, lifetimeMs } = request;
  if (subject !== issuer && subject !== issuer + 1)
    throw new Fault('root-not-linked', 'a root certifies itself and the next one, nothing else');
  if (context.root(subject) !== undefined)
    throw new Fault('root-known', `root g${subject} has its certificates already`);
  const { rootLifetimeMs } = context;
  if (lifetimeMs < rootLifetimeMs / 2 || lifetimeMs > rootLifetimeMs * 2)
    throw new Fault(
      'bad-ttl',
      `a root of ${lifetimeMs} ms is not signed here, where --root-ttl is ${rootLifetimeMs} ms`,
    );
  const message = rootTbs(request, context);
  if (message === undefined)
    throw new Fault('root-unknown', `the epoch of root g${subject} is not known here yet`);
  return { message, generation: issuer };
}

/**
 * Throws a `Fault` to refuse: `not-a-trustee`, `clock-skew`, `root-unknown`, `wrong-root`, `not-acknowledged`,
 * which names the hosts that are waited for.
 */
export function judgeTurnRequest(
  request: TurnRequest,
  from: HostId,
  context: RootContext,
  now: Millis,
): ToSign {
  refuseUnlessTimely(request.at, from, context, now);
  const { generation, turn, by } = request;
  const root = context.root(generation);
  if (root === undefined) throw new Fault('root-unknown', `root g${generation} is not known here yet`);
  const active = context.activeGeneration();
  const fits =
    turn === 'active' ? by === generation && generation > active : by === active && generation < active;
  if (!fits) throw new Fault('wrong-root', `root g${generation} does not turn ${turn} by g${by} now`);
  const reason = objectionToTurn(generation, turn, context, now);
  if (reason !== null) throw new Fault('not-acknowledged', reason);
  return { message: turnStatement(context.mesh, request), generation: by };
}

/** Why a root must not turn yet: whose connections would fail; null where nobody's would. */
export function objectionToTurn(
  generation: number,
  turn: Turn,
  context: RootContext,
  now: Millis,
): string | null {
  const waiting = context.waitingFor(generation, turn, now);
  if (waiting.length === 0) return null;
  // What it signed has expired, whoever may not have said so.
  const since = context.root(context.activeGeneration())?.activeSince ?? now;
  if (turn === 'retired' && now > since + context.longestLeafMs + clockSkewMs) return null;
  const shown = waiting.slice(0, 8).join(', ') + (waiting.length > 8 ? ', …' : '');
  return turn === 'active'
    ? `${waiting.length} hosts do not believe root g${generation} yet: ${shown}`
    : `${waiting.length} hosts may still use root g${generation}: ${shown}`;
}

function refuseUnlessTimely(at: Millis, from: HostId, context: RootContext, now: Millis): void {
  if (!context.isTrustee(from)) throw new Fault('not-a-trustee', 'only trustees ask for signatures on roots');
  if (at % 1000 !== 0 || Math.abs(at - now) > clockSkewMs)
    throw new Fault('clock-skew', `the clocks differ by more than ${clockSkewMs / 1000} s: set the clock`);
}
