/** What a writer process says on stdout, one JSON line each, and what of it can be read back from a store. */
import type { HostId } from '../../src/core.ts';
import { isHex, parseJson } from '../../src/core.ts';
import { digestOf } from '../../src/gossip/replica/codec.ts';
import { hlcMillis, type Record } from '../../src/gossip/replica/record.ts';

/** One of the things that a writer changes again and again, such as `service/lane-2`. */
export type Subject = string;
/** What a subject is at a moment; null when it is not there. */
export type Content = string | null;

/** A record as it is told apart from every other: two that share author and version must share the hash. */
export interface RecordName {
  readonly author: HostId;
  readonly scope: Record['scope'];
  readonly version: number;
  readonly hlc: number;
  readonly hash: string;
}

export type Line =
  /** The store is open and the agent's core has started from it. */
  | {
      readonly type: 'open';
      readonly self: HostId;
      readonly epoch: number;
      readonly incarnation: number;
      readonly damaged: number;
    }
  /** Is about to be asked for; may be found later or not. */
  | { readonly type: 'attempt'; readonly subject: Subject; readonly content: Content }
  /** Was answered: must be found, or something attempted after it. */
  | { readonly type: 'acknowledged'; readonly subject: Subject; readonly content: Content }
  /** This host signed a record; nobody else has seen it yet. */
  | { readonly type: 'signed'; readonly record: RecordName }
  /** This host told the mesh of a record of its own: it must be durable. */
  | { readonly type: 'published'; readonly record: RecordName }
  /** Something was refused that should not have been. */
  | { readonly type: 'fault'; readonly code: string; readonly message: string };

export function nameOf(record: Record): RecordName {
  const { author, scope, version, hlc, bytes } = record;
  return { author, scope, version, hlc, hash: Buffer.from(digestOf(bytes), 'latin1').toString('hex') };
}

/** A line as the writer printed it. The writer is this project's own process: what else it prints is a bug. */
export function readLine(text: string): Line {
  return JSON.parse(text) as Line;
}

/** Which subject a stored record speaks of, and what it says; null for records that no writer attempts. */
export function subjectOf(record: Record): { readonly subject: Subject; readonly content: Content } | null {
  const { kind, key, author } = record;
  const subject = `${kind}/${author.slice(0, 8)}/${key}`;
  if (record.deleted) return { subject, content: null };
  const value = parseJson(record.value);
  if (kind === 'service') return { subject, content: textAt(value, 'meta', 'content') };
  if (kind === 'check') return { subject, content: textAt(value, 'status') };
  if (kind === 'config-entry')
    return { subject: `${kind}/${key}`, content: textAt(value, 'Sources', '0', 'Description') };
  if (kind === 'grant') return { subject: `${kind}/${key}`, content: 'made' };
  if (kind === 'admission') return { subject, content: 'made' };
  return null;
}

/** The text at a path within JSON that a writer made; '' when there is none. */
function textAt(value: unknown, ...path: readonly string[]): string {
  let at = value;
  for (const name of path)
    at =
      typeof at === 'object' && at !== null ? (at as { readonly [key: string]: unknown })[name] : undefined;
  return typeof at === 'string' ? at : '';
}

/** `3 of 5f2a..., 2026-01-01T00:00:00.000Z`, for a report. */
export function describe({ author, scope, version, hlc }: RecordName): string {
  const writer = isHex(author, 32) ? author.slice(0, 8) : author;
  return `${scope} record ${version} of ${writer} at ${new Date(hlcMillis(hlc)).toISOString()}`;
}
