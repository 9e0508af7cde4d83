/** Shamir's sharing over the group's scalars, with Feldman's commitments (RFC 9591, appendix C). */
import { assert } from '../../core.ts';
import {
  add,
  type Commitment,
  commit,
  type Element,
  multiplySmall,
  type Scalar,
  scalarFromEntropy,
  scalars,
  wideScalarBytes,
} from './group.ts';

/** A trustee's number within one epoch, from 1: its identifier in RFC 9591. */
export type Seat = number;
/** Beyond this many trustees a signature costs more than a mesh gains; it also bounds every message. */
export const maxSeats = 32;

/** A secret polynomial. Its coefficients are no property: printing or serialising it never shows them. */
export class Polynomial {
  readonly #coefficients: readonly Scalar[];

  /** From its coefficients, the constant first, none of them zero. */
  constructor(coefficients: readonly Scalar[]) {
    assert(coefficients.length > 0, 'a polynomial has a constant term');
    this.#coefficients = coefficients;
  }

  /** Entropy that `draw` needs for `count` coefficients. */
  static entropyBytes(count: number): number {
    return count * wideScalarBytes;
  }

  /** One of `threshold` coefficients, drawn from `entropy` of exactly the bytes it needs. */
  static draw(threshold: number, entropy: Uint8Array): Polynomial {
    return new Polynomial(drawCoefficients(threshold, entropy));
  }

  /** The same with a given constant term. */
  static drawThrough(constant: Scalar, threshold: number, entropy: Uint8Array): Polynomial {
    return new Polynomial([constant, ...drawCoefficients(threshold - 1, entropy)]);
  }

  get constant(): Scalar {
    return this.#coefficients[0]!;
  }

  /** The share of `seat`. */
  evaluate(seat: Seat): Scalar {
    const x = BigInt(seat);
    return this.#coefficients.reduceRight(
      (value, coefficient) => scalars.add(scalars.mul(value, x), coefficient),
      0n,
    );
  }

  /** A commitment to each coefficient, the constant's first. */
  commitments(): Commitment[] {
    return this.#coefficients.map(commit);
  }
}

function drawCoefficients(count: number, entropy: Uint8Array): Scalar[] {
  assert(
    entropy.length === Polynomial.entropyBytes(count),
    'a polynomial is drawn from 64 bytes a coefficient',
  );
  return Array.from({ length: count }, (_, i) =>
    scalarFromEntropy(entropy.subarray(i * wideScalarBytes, (i + 1) * wideScalarBytes)),
  );
}

/** What `seat`'s share times the base point must be, from the commitments to the coefficients. */
export function evaluateCommitments(commitments: readonly Element[], seat: Seat): Element {
  return commitments.reduceRight((value, commitment) => add(multiplySmall(value, seat), commitment));
}

/** The weight of `seat`'s share in the secret, where exactly `seats` bring theirs (RFC 9591, section 4.2). */
export function lagrangeWeight(seats: readonly Seat[], seat: Seat): Scalar {
  assert(seats.includes(seat), 'a weight is for one of those who take part');
  let numerator = 1n;
  let denominator = 1n;
  for (const other of seats) {
    if (other === seat) continue;
    numerator = scalars.mul(numerator, BigInt(other));
    denominator = scalars.mul(denominator, scalars.create(BigInt(other - seat)));
  }
  return scalars.div(numerator, denominator);
}
