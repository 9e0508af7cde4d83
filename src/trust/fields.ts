/** Reads the fields of a JSON object that somebody else wrote; the first wrong one is a `Fault` naming it. */
import { Fault, isHex, type Millis, parseJson } from '../core.ts';

/** Reads one object. Fields nobody asks for are left alone: a newer version may have put them there. */
export class Fields {
  private readonly fields: { readonly [name: string]: unknown };
  private readonly code: string;

  /** `code` is the code of every fault this reader throws. */
  constructor(value: unknown, code: string) {
    this.code = code;
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new Fault(code, 'expected a JSON object');
    this.fields = value as { readonly [name: string]: unknown };
  }

  /** From UTF-8 JSON. */
  static parse(bytes: Uint8Array, code: string): Fields {
    let value: unknown;
    try {
      value = parseJson(bytes);
    } catch (error) {
      throw new Fault(code, 'expected a JSON object', { cause: error });
    }
    return new Fields(value, code);
  }

  private get(name: string): unknown {
    return Object.hasOwn(this.fields, name) ? this.fields[name] : undefined;
  }

  private wrong(name: string, expected: string): Fault {
    return new Fault(this.code, `${name} must be ${expected}`, { field: name });
  }

  has(name: string): boolean {
    const value = this.get(name);
    return value !== undefined && value !== null;
  }

  text(name: string, pattern: RegExp, maxLength: number): string {
    const value = this.get(name);
    if (typeof value !== 'string' || value.length > maxLength || !pattern.test(value))
      throw this.wrong(name, `text of at most ${maxLength} characters matching ${pattern.source}`);
    return value;
  }

  /** Lower-case hex of exactly `bytes` bytes. */
  hex(name: string, bytes: number): string {
    const value = this.get(name);
    if (typeof value !== 'string' || !isHex(value, bytes)) throw this.wrong(name, `${bytes} bytes of hex`);
    return value;
  }

  integer(name: string, least: number, most: number): number {
    const value = this.get(name);
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most)
      throw this.wrong(name, `an integer from ${least} to ${most}`);
    return value;
  }

  /** Milliseconds since the epoch, within what a certificate can express. */
  time(name: string): Millis {
    return this.integer(name, 0, latestTime);
  }

  flag(name: string): boolean {
    const value = this.get(name);
    if (typeof value !== 'boolean') throw this.wrong(name, 'true or false');
    return value;
  }

  oneOf<T extends string>(name: string, allowed: readonly T[]): T {
    const value = this.get(name);
    const found = allowed.find((candidate) => candidate === value);
    if (found === undefined) throw this.wrong(name, `one of ${allowed.join(', ')}`);
    return found;
  }

  /** A list of texts without duplicates. */
  texts(name: string, pattern: RegExp, maxLength: number, maxCount: number): string[] {
    const value = this.get(name);
    if (!Array.isArray(value) || value.length > maxCount)
      throw this.wrong(name, `a list of at most ${maxCount}`);
    const texts: string[] = [];
    for (const item of value as unknown[]) {
      if (typeof item !== 'string' || item.length > maxLength || !pattern.test(item) || texts.includes(item))
        throw this.wrong(name, `a list of different texts matching ${pattern.source}`);
      texts.push(item);
    }
    return texts;
  }
}

/** The end of the year 9999, the last second of X.509's GeneralizedTime. */
export const latestTime: Millis = 253_402_300_799_000;
