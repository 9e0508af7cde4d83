/**
 * A running hash over everything that happens, so that two runs can be compared by one number: equal hashes
 * mean the same inputs reached the same hosts at the same times with the same bytes.
 */

const scratch = new DataView(new ArrayBuffer(8));

/** Two 32-bit lanes of multiply-xor mixing. Fast, order-sensitive, not cryptographic: nobody attacks a trace. */
export class Trace {
  private high = 0x811c9dc5;
  private low = 0x01000193;

  integer(value: number): this {
    this.high = Math.imul(this.high ^ value, 0x85ebca6b);
    this.high ^= this.high >>> 15;
    this.low = Math.imul(this.low ^ value ^ this.high, 0xc2b2ae35);
    this.low ^= this.low >>> 13;
    return this;
  }

  /** All 64 bits of a double, such as a time with its fraction. */
  double(value: number): this {
    scratch.setFloat64(0, value);
    return this.integer(scratch.getInt32(0)).integer(scratch.getInt32(4));
  }

  text(value: string): this {
    for (let i = 0; i < value.length; i++) this.integer(value.charCodeAt(i));
    return this.integer(-1 - value.length);
  }

  bytes(value: Uint8Array): this {
    const whole = value.length & ~3;
    for (let i = 0; i < whole; i += 4)
      this.integer(value[i]! | (value[i + 1]! << 8) | (value[i + 2]! << 16) | (value[i + 3]! << 24));
    for (let i = whole; i < value.length; i++) this.integer(value[i]!);
    return this.integer(-1 - value.length);
  }

  /** Sixteen hex digits; may be read at any time without disturbing the run. */
  digest(): string {
    return hex32(this.high) + hex32(this.low);
  }
}

/** A 32-bit hash of texts, for deriving seeds and short fingerprints. */
export function hash32(...texts: readonly string[]): number {
  const trace = new Trace();
  for (const text of texts) trace.text(text);
  return Number.parseInt(trace.digest().slice(8), 16);
}

function hex32(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0');
}
