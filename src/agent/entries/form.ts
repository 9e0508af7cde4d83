/**
 * What users may write, as data: each form says in one place how a value is read, what TypeScript knows of it
 * afterwards and how OpenAPI describes it. Reading gives the normal form, Consul's JSON with PascalCase names and
 * nothing in it that says nothing; what is in normal form already is read as itself.
 */
import { Fault } from '../../core.ts';
import { goDuration } from '../consul/consul.ts';
import { maxDurationMs, parseDuration } from '../consul/duration.ts';
import { Fields, fault } from '../consul/fields.ts';

export type JsonSchema = { readonly [keyword: string]: unknown };

export interface Form<T> {
  /** JSON Schema 2020-12 of what may be written; narrower in nothing, wider where words must do. */
  readonly schema: JsonSchema;
  /** The normal form; undefined when the value says nothing. `Fault` with the path of what is wrong. */
  read(value: unknown, path: string): T | undefined;
}

/** What reading by a form gives. */
export type Read<F> = F extends Form<infer T> ? T : never;

/** A field that must be there. */
export interface Needed {
  readonly needed: string;
}

/** A field of Consul's that Starling does not act on. */
export interface Refused {
  readonly refused: string;
  readonly harmless: readonly unknown[] | 'everything';
}

type Part = Form<unknown> | (Form<unknown> & Needed) | Refused;
export type Shape = { readonly [field: string]: Part };

type NeededIn<S> = { [K in keyof S]: S[K] extends Needed ? K : never }[keyof S];
type RefusedIn<S> = { [K in keyof S]: S[K] extends Refused ? K : never }[keyof S];

/** An object as its shape reads it. */
export type Reading<S extends Shape> = { readonly [K in NeededIn<S>]: Read<S[K]> } & {
  readonly [K in Exclude<keyof S, NeededIn<S> | RefusedIn<S>>]?: Read<S[K]>;
};

/** The same form, for a field that must be there; `why` ends the refusal of an object without it. */
export function needed<T>(form: Form<T>, why = 'is required'): Form<T> & Needed {
  return { ...form, needed: why };
}

/** The same form with a sentence of documentation. */
export function described<F extends { readonly schema: JsonSchema }>(form: F, description: string): F {
  return { ...form, schema: { ...form.schema, description } };
}

/** The same form, for a field that Consul does not have. */
export function beyond<F extends { readonly schema: JsonSchema }>(form: F, description: string): F {
  return { ...form, schema: { ...form.schema, description, 'x-starling': true } };
}

/**
 * A field that would silently do nothing: refused, unless it says nothing (absent, empty, false, 0, or one of
 * `harmless`); then it is left out.
 */
export function refused(why: string, harmless: readonly unknown[] = []): Refused {
  return { refused: why, harmless };
}

/** A field that Consul's answers have and that clients send back as they read it. */
export const echoed: Refused = { refused: '', harmless: 'everything' };

export function text(
  options: { readonly most?: number; readonly pattern?: RegExp; readonly what?: string } = {},
): Form<string> {
  const { most = 1024, pattern, what } = options;
  return {
    schema: {
      type: 'string',
      maxLength: most,
      ...(pattern === undefined ? {} : { pattern: pattern.source }),
    },
    read(value, path) {
      if (typeof value !== 'string')
        throw fault('invalid-field', path, `must be a string, not ${kindOf(value)}`);
      if (value === '') return undefined;
      if (value.length > most) throw fault('invalid-field', path, `is longer than ${most} characters`);
      if (pattern !== undefined && !pattern.test(value))
        throw fault('invalid-field', path, `"${value}" is not ${what}`);
      return value;
    },
  };
}

/** One of a few words, which may be written in any case where `anyCase` says so. */
export function word<const T extends string>(
  words: readonly T[],
  options: { readonly anyCase?: boolean; readonly unsupported?: { readonly [word: string]: string } } = {},
): Form<T> {
  const { anyCase = false, unsupported = {} } = options;
  return {
    schema: { type: 'string', enum: words },
    read(value, path) {
      if (typeof value !== 'string')
        throw fault('invalid-field', path, `must be a string, not ${kindOf(value)}`);
      if (value === '') return undefined;
      const found = words.find(
        (one) => one === value || (anyCase && one.toLowerCase() === value.toLowerCase()),
      );
      if (found !== undefined) return found;
      if (Object.hasOwn(unsupported, value)) throw fault('unsupported', path, unsupported[value]!);
      throw fault('invalid-field', path, `"${value.slice(0, 64)}" is none of ${words.join(', ')}`);
    },
  };
}

/** `otherwise` is what an absent one means, so saying it says nothing. */
export function flag(otherwise = false): Form<boolean> {
  return {
    schema: { type: 'boolean', default: otherwise },
    read(value, path) {
      if (typeof value !== 'boolean')
        throw fault('invalid-field', path, `must be true or false, not ${kindOf(value)}`);
      return value === otherwise ? undefined : value;
    },
  };
}

export interface NumberOptions {
  readonly least: number;
  readonly most: number;
  /** May have a fraction. */
  readonly fractional?: boolean;
  /** 0 is what Go writes for what is not set, so it says nothing. */
  readonly zeroIsUnset?: boolean;
}

export function amount(options: NumberOptions): Form<number> {
  const { least, most, fractional = false, zeroIsUnset = false } = options;
  return {
    schema: { type: fractional ? 'number' : 'integer', minimum: zeroIsUnset ? 0 : least, maximum: most },
    read(value, path) {
      if (typeof value !== 'number' || !(fractional ? Number.isFinite(value) : Number.isInteger(value)))
        throw fault(
          'invalid-field',
          path,
          `must be a ${fractional ? '' : 'whole '}number, not ${kindOf(value)}`,
        );
      if (value === 0 && zeroIsUnset) return undefined;
      if (value < least || value > most)
        throw fault('invalid-field', path, `${value} is not between ${least} and ${most}`);
      return value;
    },
  };
}

/** Percent, hundredths and less included. */
export function percent(): Form<number> {
  return amount({ least: 0, most: 100, fractional: true });
}

/**
 * Milliseconds as Go writes durations (`1m30s`), or as its JSON has them, in nanoseconds. Zero says nothing unless
 * `zero` is what it means.
 */
export function duration(options: { readonly mostMs?: number } = {}): Form<string> {
  const { mostMs = maxDurationMs } = options;
  return {
    schema: { type: ['string', 'integer'], format: 'duration' },
    read(value, path) {
      const milliseconds = typeof value === 'number' ? fromNanoseconds(value, path) : fromText(value, path);
      if (milliseconds === 0) return undefined;
      if (milliseconds > mostMs) throw fault('invalid-field', path, `is longer than ${goDuration(mostMs)}`);
      return goDuration(milliseconds);
    },
  };
}

function fromText(value: unknown, path: string): number {
  if (typeof value !== 'string')
    throw fault(
      'invalid-field',
      path,
      `must be a duration with its unit, such as "10s", not ${kindOf(value)}`,
    );
  if (value === '') return 0;
  const milliseconds = parseDuration(value, path);
  if (milliseconds === 0 && /[1-9]/.test(value))
    throw fault('invalid-field', path, `"${value}" is shorter than a millisecond`);
  return milliseconds;
}

/** Somebody who means ten seconds writes 10: too little to be meant. */
function fromNanoseconds(value: number, path: string): number {
  if (value === 0) return 0;
  if (!Number.isSafeInteger(value) || value < 1_000_000)
    throw fault(
      'invalid-field',
      path,
      `must be a duration with its unit, such as "10s", not ${kindOf(value)}`,
    );
  return parseDuration(`${Math.round(value / 1_000_000)}ms`, path);
}

export function list<T>(of: Form<T>, most: number): Form<readonly T[]> {
  return {
    schema: { type: 'array', items: of.schema, maxItems: most },
    read(value, path) {
      if (!Array.isArray(value)) throw fault('invalid-field', path, `must be a list, not ${kindOf(value)}`);
      if (value.length > most)
        throw fault('invalid-field', path, `has ${value.length} entries, more than ${most}`);
      const read = value.map((one: unknown, i) => readNeeded(of, one, `${path}[${i}]`));
      return read.length === 0 ? undefined : read;
    },
  };
}

/** An object whose keys are the user's own, read in the order of its keys. */
export function mapOf<T>(
  of: Form<T>,
  options: { readonly most: number; readonly key: RegExp; readonly what: string },
): Form<{ readonly [key: string]: T }> {
  const { most, key, what } = options;
  return {
    schema: {
      type: 'object',
      additionalProperties: of.schema,
      propertyNames: { pattern: key.source },
      maxProperties: most,
    },
    read(value, path) {
      if (typeof value !== 'object' || value === null || Array.isArray(value))
        throw fault('invalid-field', path, `must be an object, not ${kindOf(value)}`);
      const pairs = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
      if (pairs.length > most)
        throw fault('invalid-field', path, `has ${pairs.length} entries, more than ${most}`);
      const read = pairs.map(([name, held]: [string, unknown]): [string, T] => {
        if (!key.test(name)) throw fault('invalid-field', path, `"${name.slice(0, 64)}" is not ${what}`);
        return [name, readNeeded(of, held, `${path}.${name}`)];
      });
      // `fromEntries` defines, it does not assign: a key of `__proto__` is a key like any other.
      return read.length === 0 ? undefined : Object.fromEntries(read);
    },
  };
}

function readNeeded<T>(form: Form<T>, value: unknown, path: string): T {
  const read = form.read(value, path);
  if (read === undefined) throw fault('invalid-field', path, 'is empty');
  return read;
}

export interface ObjectOptions<S extends Shape> {
  /**
   * What an object means in which nothing is said: nothing at all, as Go writes what is not set (`unset`, the
   * default); something by its mere presence (`kept`); or a mistake, then the sentence that says so.
   */
  readonly empty?: 'unset' | 'kept' | { readonly refusal: string };
  /** What no field can tell by itself. Throws `fields.fault`, so that the path is in the user's own spelling. */
  readonly check?: (read: Reading<S>, fields: Fields) => void;
}

export function object<S extends Shape>(
  shape: S,
  options: ObjectOptions<S> = {},
): Form<Reading<S>> & { shape: S } {
  const { empty = 'unset', check } = options;
  return {
    shape,
    schema: schemaOf(shape),
    read(value, path) {
      const fields = new Fields(value, path);
      const read = readShape(shape, fields);
      check?.(read, fields);
      if (Object.keys(read).length > 0 || empty === 'kept') return read;
      if (empty === 'unset') return undefined;
      throw fault('without-effect', path, empty.refusal);
    },
  };
}

/** Reads every field of a shape and refuses what is none of them, or is needed and not there. */
function readShape<S extends Shape>(shape: S, fields: Fields): Reading<S> {
  const read: { [field: string]: unknown } = {};
  const absent: (readonly [field: string, why: string])[] = [];
  for (const [name, part] of Object.entries(shape)) {
    if ('refused' in part) {
      if (part.harmless === 'everything') fields.value(name);
      else fields.unsupported(name, part.refused, part.harmless);
      continue;
    }
    const held = fields.has(name) ? part.read(fields.value(name), fields.at(name)) : undefined;
    if (held !== undefined) read[name] = held;
    else if ('needed' in part) absent.push([name, part.needed]);
  }
  // Once every name is known: a misspelt one is then told from one that is missing.
  const [first] = absent;
  if (first !== undefined) throw fields.missing(...first);
  fields.end();
  return read as Reading<S>;
}

function schemaOf(shape: Shape): JsonSchema {
  const properties: { [field: string]: JsonSchema } = {};
  const required: string[] = [];
  const refusals: { [field: string]: string } = {};
  for (const [name, part] of Object.entries(shape)) {
    if ('refused' in part) {
      if (part.refused !== '') refusals[name] = part.refused;
      continue;
    }
    properties[name] = part.schema;
    if ('needed' in part) required.push(name);
  }
  return {
    type: 'object',
    properties,
    ...(required.length === 0 ? {} : { required }),
    additionalProperties: false,
    ...(Object.keys(refusals).length === 0 ? {} : { 'x-refused': refusals }),
  };
}

/** A `Fault` unless at most one of the fields is said. */
export function refuseTogether(read: object, fields: Fields, names: readonly string[]): void {
  const said = names.filter((name) => name in read);
  if (said.length > 1)
    throw fields.fault('conflicting-fields', said[1]!, `only one of ${said.join(', ')} can hold`);
}

function kindOf(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  return `${typeof value} ${JSON.stringify(value).slice(0, 40)}`;
}

/** Reads without throwing: null for what is not understood. */
export function understood<T>(form: Form<T>, value: unknown): T | null {
  try {
    return form.read(value, '') ?? null;
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}
