/** What is read of a head for those who observe requests: cut to a length, and never what may be a secret. Pure. */
import { colon, lineFeed, spells } from '../http1/bytes.ts';

/** What the parsed head of a request must tell. Offsets are into the bytes that it was parsed from. */
export interface HeadFacts {
  readonly methodStart: number;
  readonly methodEnd: number;
  readonly pathStart: number;
  readonly targetEnd: number;
  /** One past the empty line. */
  readonly end: number;
  readonly minorVersion: number;
  readonly hostCount: number;
  readonly hostStart: number;
  readonly hostEnd: number;
  /** To be set where a line with one was added. */
  hasRequestId: boolean;
  /** Leaves out every line with one of these names (lower case) when the head is forwarded. */
  cutFields(bytes: Uint8Array, names: readonly Uint8Array[]): void;
}

/** Longer parts are cut: a log line is no place for a client to store things. */
const maxPathBytes = 1024;
const maxFieldBytes = 256;

/** Text in these is visible ASCII as the parser lets it through; whoever writes it escapes the rest. */
function text(bytes: Buffer, start: number, end: number, most: number): string {
  return bytes.toString('latin1', start, Math.min(end, start + most));
}

export function methodOf(bytes: Buffer, head: HeadFacts): string {
  return text(bytes, head.methodStart, head.methodEnd, maxFieldBytes);
}

/** Without the query: tokens travel in queries. */
export function pathOf(bytes: Buffer, head: HeadFacts): string {
  const target = text(bytes, head.pathStart, head.targetEnd, maxPathBytes);
  const mark = target.indexOf('?');
  return (mark < 0 ? target : target.slice(0, mark)) || '/';
}

export function authorityOf(bytes: Buffer, head: HeadFacts): string {
  return head.hostCount === 0 ? '' : text(bytes, head.hostStart, head.hostEnd, maxFieldBytes);
}

/**
 * The values of some fields by one pass over the head: `values[i]` becomes that of `names[i]` (lower case), several
 * with a comma between them, or null.
 */
export function readFields(
  bytes: Buffer,
  head: HeadFacts,
  names: readonly Uint8Array[],
  values: (string | null)[],
): void {
  values.fill(null);
  let line = bytes.indexOf(lineFeed, head.targetEnd) + 1;
  while (line < head.end - 2) {
    const lineEnd = bytes.indexOf(lineFeed, line);
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!;
      if (bytes[line + name.length] !== colon || !spells(bytes, line, name)) continue;
      const value = text(bytes, line + name.length + 1, lineEnd - 1, maxFieldBytes).trim();
      const before = values[i];
      values[i] =
        before === null || before === undefined ? value : `${before},${value}`.slice(0, maxFieldBytes);
    }
    line = lineEnd + 1;
  }
}
