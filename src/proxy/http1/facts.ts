/** What policy may look at in a request, turned into strings only where something asks for it. */
import type { HashSource } from '../balance/hash-key.ts';
import { ascii, colon, lineFeed, space, spells, spellsLoosely, tab } from './bytes.ts';
import type { RequestHead } from './head.ts';

const cookieName = ascii('cookie');

/** One object is reused for many requests: what it says holds as long as the bytes of the head are at hand. */
export class RequestFacts implements HashSource {
  /** Of the client's socket; known where hashes are asked for. */
  sourceIp = '';
  private bytes: Buffer = Buffer.alloc(0);
  private head: RequestHead | null = null;
  private pathText: string | null = null;
  private queryText: string | null = null;

  of(bytes: Buffer, head: RequestHead): this {
    this.bytes = bytes;
    this.head = head;
    this.pathText = null;
    this.queryText = null;
    return this;
  }

  get method(): string {
    const { methodStart, methodEnd } = this.head!;
    return this.bytes.toString('latin1', methodStart, methodEnd);
  }

  /** As it is forwarded, without the query. */
  get path(): string {
    if (this.pathText === null) this.readTarget();
    return this.pathText!;
  }

  private readTarget(): void {
    const target = targetOf(this.bytes, this.head!);
    const mark = target.indexOf('?');
    this.pathText = mark < 0 ? target : target.slice(0, mark);
    this.queryText = mark < 0 ? '' : target.slice(mark + 1);
  }

  /** The value of the first parameter with this name, as it was sent; null without one. */
  query(name: string): string | null {
    if (this.queryText === null) this.readTarget();
    for (const pair of this.queryText!.split('&')) {
      const equals = pair.indexOf('=');
      if ((equals < 0 ? pair : pair.slice(0, equals)) === name)
        return equals < 0 ? '' : pair.slice(equals + 1);
    }
    return null;
  }

  /** The value of a field, several with a comma between them; null without one. `name` is in lower case. */
  field(name: Uint8Array): string | null {
    const { fieldsStart, end } = this.head!;
    return fieldValue(this.bytes, fieldsStart, end, name);
  }

  /** Each value of a field by itself, and of those whose name has `_` where `name` has `-`. */
  values(name: Uint8Array): string[] {
    const { fieldsStart, end } = this.head!;
    const values: string[] = [];
    for (let line = fieldsStart; line < end - 2; ) {
      const next = this.bytes.indexOf(lineFeed, line) + 1;
      const nameEnd = line + name.length;
      if (this.bytes[nameEnd] === colon && spellsLoosely(this.bytes, line, name))
        values.push(this.bytes.toString('latin1', nameEnd + 1, next - 2).trim());
      line = next;
    }
    return values;
  }

  header(name: string): string | null {
    return this.field(ascii(name.toLowerCase()));
  }

  cookie(name: string): string | null {
    for (const pair of (this.field(cookieName) ?? '').split(/[;,] */)) {
      const equals = pair.indexOf('=');
      if (equals > 0 && pair.slice(0, equals) === name) return pair.slice(equals + 1);
    }
    return null;
  }
}

/** The request target in origin-form (or `*`), as it is forwarded before policy rewrites it. */
export function targetOf(bytes: Buffer, head: RequestHead): string {
  if (head.newTarget !== null) return head.newTarget.toString('latin1', 0, head.newTarget.length);
  return bytes.toString('latin1', head.pathStart, head.targetEnd) || '/';
}

/** As `RequestFacts.field`, in the well-formed header section from `start` to the end of its empty line. */
export function fieldValue(bytes: Buffer, start: number, end: number, name: Uint8Array): string | null {
  let value: string | null = null;
  for (let span = fieldSpan(bytes, start, end, name); span !== null; ) {
    const text = bytes.toString('latin1', span.start, span.end);
    value = value === null ? text : `${value},${text}`;
    span = fieldSpan(bytes, span.next, end, name);
  }
  return value;
}

interface FieldSpan {
  /** Of the value, without blanks around it. */
  readonly start: number;
  readonly end: number;
  /** Where the next line begins. */
  readonly next: number;
}

/** Where the value of the first field with this name is, from the line that begins at `start` on. */
export function fieldSpan(bytes: Buffer, start: number, end: number, name: Uint8Array): FieldSpan | null {
  for (let line = start; line < end - 2; ) {
    const next = bytes.indexOf(lineFeed, line) + 1;
    const nameEnd = line + name.length;
    if (bytes[nameEnd] === colon && spells(bytes, line, name)) {
      let from = nameEnd + 1;
      let to = next - 2;
      while (from < to && isBlank(bytes[from]!)) from++;
      while (to > from && isBlank(bytes[to - 1]!)) to--;
      return { start: from, end: to, next };
    }
    line = next;
  }
  return null;
}

function isBlank(byte: number): boolean {
  return byte === space || byte === tab;
}
