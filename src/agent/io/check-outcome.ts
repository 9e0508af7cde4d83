/** What one run of a check found. */
import type { CheckStatus } from '../kinds.ts';

export interface Outcome {
  readonly status: CheckStatus;
  readonly output: string;
}
