/** A filter expression as a tree. */
import type { Regex } from '../regex/regex.ts';

export type Operator = 'equal' | 'in' | 'empty' | 'matches';

export interface Match {
  readonly type: 'match';
  /** Names and keys from the outside in; never empty. */
  readonly selector: readonly string[];
  readonly operator: Operator;
  /** `!=`, `not in`, `is not empty`, `not matches`. */
  readonly negated: boolean;
  /** As written, without quotes; '' for `empty`. */
  readonly value: string;
  /** For `matches`. */
  readonly regex: Regex | null;
}

export type Expression =
  | { readonly type: 'and' | 'or'; readonly operands: readonly Expression[] }
  | { readonly type: 'not'; readonly operand: Expression }
  | Match;
