/**
 * Reads objects that users wrote, field by field: both of Consul's spellings (`EnableTagOverride` and
 * `enable_tag_override`, in any case, as Consul reads them), every fault with the path of its field, and
 * nothing overlooked: a field that nobody asked for is refused by name.
 */
import { Fault } from '../../core.ts';
import { parseDuration } from './duration.ts';

/** Fields that one object may have; more is no definition. */
const maxFields = 256;

interface Entry {
  /** As it was written. */
  readonly key: string;
  readonly value: unknown;
}

export class Fields {
  /** Where this object is, such as `service.checks[1]`; '' for the whole input. */
  readonly path: string;
  private readonly entries = new Map<string, Entry>();
  private readonly known = new Map<string, string>();
  /** Whether names are to be shown as `snake_case`: as the user wrote the others. */
  private readonly snake: boolean;

  /** `Fault('invalid-field')` unless `input` is an object; `conflicting-fields` if a field is there twice. */
  constructor(input: unknown, path: string) {
    this.path = path;
    if (typeof input !== 'object' || input === null || Array.isArray(input))
      throw fault('invalid-field', path, `must be an object, not ${describe(input)}`);
    const written = Object.entries(input);
    if (written.length > maxFields) throw fault('invalid-field', path, `has more than ${maxFields} fields`);
    this.snake = written.length > 0 && written.every(([key]) => !/[A-Z]/.test(key));
    for (const [key, value] of written) {
      const twin = this.entries.get(normal(key));
      if (twin !== undefined)
        throw fault('conflicting-fields', this.join(key), `is the same field as "${twin.key}"`);
      this.entries.set(normal(key), { key, value });
    }
  }

  /** The path of a field, spelled as the user did, or in the style of the fields around it. */
  at(name: string): string {
    const key = this.entries.get(normal(name))?.key;
    return this.join(key ?? (this.snake ? snakeCase(name) : name));
  }

  private join(key: string): string {
    return this.path === '' ? key : `${this.path}.${key}`;
  }

  /** A `Fault` that blames one field. */
  fault(code: string, name: string, message: string): Fault {
    return fault(code, this.at(name), message);
  }

  /** The fault of a field that is not there: `missing-field`, or `unknown-field` for one that it may be. */
  missing(name: string, message: string): Fault {
    const strange = [...this.entries.keys()].filter((key) => !this.known.has(key));
    const near = nearest(normal(name), strange);
    if (near === null) return this.fault('missing-field', name, message);
    return this.unknown(this.entries.get(near)!.key, name);
  }

  private unknown(key: string, proper: string | null): Fault {
    const hint = proper === null ? '' : `; did you mean "${this.snake ? snakeCase(proper) : proper}"?`;
    return fault('unknown-field', this.join(key), `is not a field${hint}`);
  }

  /** Whether the field is there with anything but null, which is how Go writes what is not set. */
  has(name: string): boolean {
    return this.value(name) !== undefined;
  }

  /** The raw value, null counting as absent; the field is known from now on. */
  value(name: string): unknown {
    this.known.set(normal(name), name);
    return this.entries.get(normal(name))?.value ?? undefined;
  }

  string(name: string, otherwise: string, maxLength = 1024): string {
    const value = this.value(name) ?? otherwise;
    if (typeof value !== 'string')
      throw this.fault('invalid-field', name, `must be a string, not ${describe(value)}`);
    if (value.length > maxLength)
      throw this.fault('invalid-field', name, `is longer than ${maxLength} characters`);
    return value;
  }

  /** A string that is there, is not empty and matches; `what` says in words what the pattern asks for. */
  required(name: string, pattern: RegExp, what: string): string {
    const value = this.string(name, '');
    if (value === '') throw this.missing(name, 'is required');
    if (!pattern.test(value)) throw this.fault('invalid-field', name, `"${value}" is not ${what}`);
    return value;
  }

  /** One of a few words; '' and absent mean `otherwise`. */
  word<T extends string>(name: string, words: readonly T[], otherwise: T): T {
    const value = this.string(name, otherwise) || otherwise;
    const found = words.find((word) => word === value);
    if (found === undefined)
      throw this.fault('invalid-field', name, `"${value}" is none of ${words.join(', ')}`);
    return found;
  }

  boolean(name: string, otherwise: boolean): boolean {
    const value = this.value(name) ?? otherwise;
    if (typeof value !== 'boolean')
      throw this.fault('invalid-field', name, `must be true or false, not ${describe(value)}`);
    return value;
  }

  integer(name: string, otherwise: number, min: number, max: number): number {
    const value = this.value(name) ?? otherwise;
    if (typeof value !== 'number' || !Number.isInteger(value))
      throw this.fault('invalid-field', name, `must be a whole number, not ${describe(value)}`);
    if (value < min || value > max)
      throw this.fault('invalid-field', name, `${value} is not between ${min} and ${max}`);
    return value;
  }

  /** Milliseconds of a Go duration; absent, null and '' are 0. */
  duration(name: string): number {
    const value = this.value(name) ?? '';
    if (typeof value !== 'string')
      throw this.fault(
        'invalid-field',
        name,
        `must be a duration with its unit, such as "10s", not ${describe(value)}`,
      );
    return value === '' ? 0 : parseDuration(value, this.at(name));
  }

  list(name: string, maxLength: number): { readonly value: unknown; readonly path: string }[] {
    const value = this.value(name) ?? [];
    if (!Array.isArray(value))
      throw this.fault('invalid-field', name, `must be a list, not ${describe(value)}`);
    if (value.length > maxLength)
      throw this.fault('invalid-field', name, `has ${value.length} entries, more than ${maxLength}`);
    const path = this.at(name);
    return value.map((entry: unknown, i) => ({ value: entry, path: `${path}[${i}]` }));
  }

  strings(name: string, maxLength: number, maxEach = 1024): string[] {
    return this.list(name, maxLength).map(({ value, path }) => {
      if (typeof value !== 'string')
        throw fault('invalid-field', path, `must be a string, not ${describe(value)}`);
      if (value.length > maxEach) throw fault('invalid-field', path, `is longer than ${maxEach} characters`);
      return value;
    });
  }

  /** Every pair of an object whose keys are the user's own, sorted by key. */
  pairs(name: string, maxPairs: number): { key: string; value: unknown; path: string }[] {
    const value = this.value(name) ?? {};
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw this.fault('invalid-field', name, `must be an object, not ${describe(value)}`);
    const written = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    if (written.length > maxPairs)
      throw this.fault('invalid-field', name, `has ${written.length} entries, more than ${maxPairs}`);
    const path = this.at(name);
    return written.map(([key, held]: [string, unknown]) => ({ key, value: held, path: `${path}.${key}` }));
  }

  /** A nested object; null when it is absent. */
  object(name: string): Fields | null {
    const value = this.value(name);
    return value === undefined ? null : new Fields(value, this.at(name));
  }

  /**
   * A field of Consul's that Starling does not act on: accepted while it says nothing (absent, empty, false,
   * 0, or one of `harmless`), else `Fault('unsupported')`, for it would silently do nothing.
   */
  unsupported(name: string, why: string, harmless: readonly unknown[] = []): void {
    const value = this.value(name);
    if (value === undefined || harmless.includes(value) || isEmpty(value)) return;
    throw this.fault('unsupported', name, why);
  }

  /** Refuses, by name, the first field that was never asked for. Call it last. */
  end(): void {
    for (const [name, { key }] of this.entries) {
      if (this.known.has(name)) continue;
      const near = nearest(name, [...this.known.keys()]);
      throw this.unknown(key, near === null ? null : this.known.get(near)!);
    }
  }
}

/** A `Fault` whose message starts with the path that it blames. */
export function fault(code: string, path: string, message: string): Fault {
  return new Fault(code, `${path === '' ? 'the definition' : path}: ${message}`, { field: path });
}

/** A path of proper names, such as `Routes[0].Match`, as whoever wrote `input` spelled it. */
export function spelledAs(input: unknown, path: string): string {
  let at = input;
  let spelled = '';
  for (const [, name, index] of path.matchAll(/([^.[\]]+)|(\[\d+\])/g)) {
    const held: object = typeof at === 'object' && at !== null ? at : {};
    const key =
      index?.slice(1, -1) ?? Object.keys(held).find((one) => normal(one) === normal(name!)) ?? name!;
    spelled += index ?? (spelled === '' ? key : `.${key}`);
    at = Object.hasOwn(held, key) ? (held as { readonly [key: string]: unknown })[key] : undefined;
  }
  return spelled;
}

/** `EnableTagOverride`, `enable_tag_override` and `enabletagoverride` are one name. */
function normal(key: string): string {
  return key.toLowerCase().replaceAll('_', '');
}

function snakeCase(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/([A-Z]+)([A-Z][a-z])/g, '$1_$2')
    .toLowerCase();
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  return `${typeof value} ${JSON.stringify(value).slice(0, 40)}`;
}

/** Says nothing: empty at every level. Deeper than any form of Consul's counts as content. */
export function isEmpty(value: unknown, depth = 4): boolean {
  if (value === null || value === undefined || value === '' || value === false || value === 0) return true;
  if (typeof value !== 'object' || depth === 0) return false;
  return Object.values(value).every((held) => isEmpty(held, depth - 1));
}

/** The known name at the least edit distance, if that is a third of its length at most. */
export function nearest(name: string, known: readonly string[]): string | null {
  let best: string | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const limit = Math.max(1, Math.floor(candidate.length / 3));
    if (Math.abs(candidate.length - name.length) > limit) continue;
    const distance = editDistance(name, candidate);
    if (distance <= limit && distance < least) {
      best = candidate;
      least = distance;
    }
  }
  return best;
}

/** Levenshtein's distance, row by row. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}
