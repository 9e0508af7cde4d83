/** What policy changes in the fields of a head, compiled: lines to leave out, and whole lines to add. */
import type { HeaderEdits, HeaderValue } from '../policy.ts';
import { ascii, isFieldValue, isToken } from './bytes.ts';
import { isIdentity } from './names.ts';

export interface FieldEdits {
  /** Names of lines that are left out, in lower case. */
  readonly cuts: readonly Uint8Array[];
  /** Whole lines; null for none. */
  readonly lines: Buffer | null;
}

/** Framing, the connection and the host are the proxy's own business: an edit of theirs would break messages. */
const untouchable = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'upgrade',
  'keep-alive',
  'te',
  'trailer',
  'expect',
]);

/** Whether policy may edit fields of this name (lower case). */
export function isEditable(name: string): boolean {
  const bytes = Buffer.from(name, 'latin1');
  return name !== '' && bytes.every((byte) => isToken[byte] === 1) && !untouchable.has(name) && !isOwn(bytes);
}

/** Who calls is for proxies to say. */
function isOwn(name: Buffer): boolean {
  return isIdentity(name, 0, name.length);
}

/** One after the other: later edits see what earlier ones added. Null when there is nothing to do. */
export function compileEdits(...all: readonly (HeaderEdits | null)[]): FieldEdits | null {
  const cuts = new Set<string>();
  let added: HeaderValue[] = [];
  for (const edits of all) {
    if (edits === null) continue;
    const gone = [...edits.remove, ...edits.set.map(({ name }) => name)].filter(isEditable);
    for (const name of gone) cuts.add(name);
    added = added.filter(({ name }) => !gone.includes(name));
    added.push(...[...edits.set, ...edits.add].filter(isSound));
  }
  if (cuts.size === 0 && added.length === 0) return null;
  return { cuts: [...cuts].map(ascii), lines: linesOf(added) };
}

/** A value that would end its line would begin another one of its own making. */
function isSound({ name, value }: HeaderValue): boolean {
  return isEditable(name) && Buffer.from(value).every((byte) => isFieldValue[byte] === 1);
}

function linesOf(fields: readonly HeaderValue[]): Buffer | null {
  if (fields.length === 0) return null;
  return Buffer.from(fields.map(({ name, value }) => `${name}: ${value}\r\n`).join(''));
}

/** Both, where there are both. */
export function joinLines(a: Buffer | null, b: Buffer | null): Buffer | null {
  if (a === null || b === null) return a ?? b;
  return Buffer.concat([a, b]);
}
