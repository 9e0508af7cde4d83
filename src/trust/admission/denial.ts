/**
 * Denials: what an operator refuses for good. A host: it gets no certificate, and whatever was issued to it, which
 * names it, is refused. Or one certificate, by its serial number, such as one whose key was stolen: its service
 * gets another.
 *
 * A denial is never taken back, not even by the operator who wrote it: a host that is clean again joins with a new
 * key, and a service has a new certificate by then. So the order of writings does not matter, nor does an operator
 * whose own key was stolen let anybody in again. That of a serial number ends by itself when no certificate of
 * that number can be valid any more. What an operator denied stays denied when its token is revoked: whoever leaves
 * would else let in all that it kept out.
 */
import { encodeJson, Fault, type HostId, isHex, type Millis } from '../../core.ts';
import { Fields, latestTime } from '../fields.ts';
import { maxTtlMs } from '../issuance/leaf-rules.ts';
import { clockSkewMs, denialKind, type SignedStatement, wallClock } from '../statement.ts';

/** Who or what is denied. */
export type Denied =
  | { readonly type: 'host'; readonly host: HostId }
  /** Hex, as certificates carry it: without a sign. */
  | { readonly type: 'serial'; readonly serial: string };

export interface Denial {
  readonly denied: Denied;
  /** In the operator's words; may be empty. */
  readonly reason: string;
  readonly at: Millis;
  /** When it ends by itself; null for a host's, which does not. */
  readonly until: Millis | null;
}

/** One that is in force, with the operator key that signed it. */
export interface SignedDenial extends Denial {
  readonly by: HostId;
}

export const maxReasonLength = 512;
const reasonPattern = /^[^\p{Cc}]*$/u;
/** RFC 5280, section 4.1.2.2: at most 20 octets. */
const serialPattern = /^(?:[0-9a-f]{2}){1,20}$/;
/** How long a certificate that was valid at a denial may still be, by whatever clock. */
export const serialDenialMs: Millis = maxTtlMs + 2 * clockSkewMs;
/** A logical clock is ahead of its host's by as much as others' clocks are allowed to be, and its host's may be off. */
const maxBacklogMs: Millis = 2 * clockSkewMs;
/** Replicas forget at the full hour, all at once; until then what is over is held like the rest. */
const hourMs = 3_600_000;

/** A denial from `at` on. Throws `Fault('denial-malformed')`. */
export function createDenial(denied: Denied, reason: string, at: Millis): Denial {
  const until = denied.type === 'host' ? null : at + serialDenialMs;
  return parseDenial(encodeDenial({ denied, reason, at, until }), denialKey(denied));
}

/** The key of the record: `host/<id>` or `serial/<hex>`. */
export function denialKey(denied: Denied): string {
  return denied.type === 'host' ? `host/${denied.host}` : `serial/${denied.serial}`;
}

/** Null for a key that names nobody. */
export function deniedOf(key: string): Denied | null {
  const [type, name = '', ...more] = key.split('/');
  if (more.length > 0) return null;
  if (type === 'host' && isHex(name, 32)) return { type, host: name };
  return type === 'serial' && serialPattern.test(name) ? { type, serial: name } : null;
}

/** The record value. */
export function denialValue({ reason, at, until }: Denial): object {
  return { reason, at, until };
}

export function encodeDenial(denial: Denial): Uint8Array {
  return encodeJson(denialValue(denial));
}

/** Reads the value of the record of key `key`. Throws `Fault('denial-malformed')`. */
export function parseDenial(value: Uint8Array, key: string): Denial {
  const denied = deniedOf(key);
  if (denied === null)
    throw new Fault('denial-malformed', 'a denial is of host/<id> or serial/<hex>', { field: 'key' });
  const fields = Fields.parse(value, 'denial-malformed');
  const reason = fields.text('reason', reasonPattern, maxReasonLength);
  const at = fields.time('at');
  const until = fields.has('until') ? fields.time('until') : null;
  if ((until === null) !== (denied.type === 'host'))
    throw new Fault('denial-malformed', 'the denial of a serial number ends, that of a host does not', {
      field: 'until',
    });
  if (until !== null && (until <= at || until > at + serialDenialMs))
    throw new Fault('denial-malformed', 'it must end after it began, when no certificate outlives it', {
      field: 'until',
    });
  return { denied, reason, at, until };
}

/** Whether replicas have forgotten it, or are about to. */
export function isOver({ until }: Denial, now: Millis): boolean {
  return until !== null && until <= Math.floor(now / hourMs) * hourMs;
}

/** When replicas may forget the statement; null for what they keep for good. */
export function expiryOf(statement: SignedStatement): Millis | null {
  return readDenial(statement)?.until ?? null;
}

/**
 * How strongly a statement holds its slot, before anybody's clock is compared; see `Finality`. Of two denials of a
 * host the earlier stays, of two of a serial number the one that lasts longer: nobody shortens either. 0 for
 * everything else.
 */
export function denialFinality(statement: SignedStatement): number {
  const denial = readDenial(statement);
  return denial === null ? 0 : strengthOf(denial);
}

function strengthOf({ at, until }: Denial): number {
  return 1 + (until ?? latestTime - at);
}

function readDenial({ scope, kind, key, deleted, value }: SignedStatement): Denial | null {
  if (scope !== 'policy' || kind !== denialKind || deleted) return null;
  try {
    return parseDenial(value, key);
  } catch (error) {
    // No denial at all: whoever judges it says so.
    if (error instanceof Fault) return null;
    throw error;
  }
}

/**
 * Whether a denial that an operator signed is one; a `Fault` says why not: `denial-permanent`,
 * `denial-malformed`, `denial-antedated`, `denial-over`.
 */
export function checkDenial(statement: SignedStatement, now: Millis): void {
  if (statement.deleted) throw new Fault('denial-permanent', 'a denial is never taken back');
  const denial = parseDenial(statement.value, statement.key);
  if (Math.abs(denial.at - wallClock(statement.hlc)) > maxBacklogMs)
    throw new Fault('denial-antedated', 'a denial begins when it is written');
  if (isOver(denial, now)) throw new Fault('denial-over', 'no certificate of this number is valid any more');
}

/** All denials in force, as the replica's winners say, in whatever order they came. */
export class Denials {
  /** Grows with each change. */
  revision = 0;
  private readonly byKey = new Map<string, SignedDenial>();
  private readonly hosts = new Map<HostId, SignedDenial>();
  private readonly serials = new Map<string, SignedDenial>();

  /** Takes in one that was judged. */
  apply(denial: SignedDenial): void {
    const key = denialKey(denial.denied);
    const known = this.byKey.get(key);
    if (known !== undefined && strengthOf(denial) < strengthOf(known)) return;
    this.revision++;
    this.byKey.set(key, denial);
    if (denial.denied.type === 'host') this.hosts.set(denial.denied.host, denial);
    else this.serials.set(denial.denied.serial, denial);
  }

  /** Lets go of one that is over. */
  forget(key: string): void {
    const denied = this.byKey.get(key)?.denied;
    if (denied?.type !== 'serial') return;
    this.revision++;
    this.byKey.delete(key);
    this.serials.delete(denied.serial);
  }

  ofHost(host: HostId): SignedDenial | undefined {
    return this.hosts.get(host);
  }

  ofSerial(serial: string): SignedDenial | undefined {
    return this.serials.get(serial);
  }

  /** The newest first. */
  all(): SignedDenial[] {
    return [...this.byKey.values()].sort(
      (a, b) => b.at - a.at || (denialKey(a.denied) < denialKey(b.denied) ? -1 : 1),
    );
  }

  get count(): number {
    return this.byKey.size;
  }

  /** Sorted. */
  deniedHosts(): HostId[] {
    return [...this.hosts.keys()].sort();
  }

  /** Sorted. */
  deniedSerials(): string[] {
    return [...this.serials.keys()].sort();
  }
}
